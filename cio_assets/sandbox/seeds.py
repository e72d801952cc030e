"""Deterministic numbers, ids and texts from integers, so that a row rendered on demand stays the same."""

import base64
import struct

MASK = (1 << 64) - 1
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NAMES = ("Ann", "Zoë", "José", "Łukasz", "李雷", "Ольга", "مريم", "Åse", "O'Brien", "🦊 Fox", "Nguyễn", 'Max "M" M.')
# The prefix only makes ids look like the documented ones; `ODD` has an inverse modulo 2**64, so ids can be read back.
ID_PREFIX = b"\x76\x04\xc8\x80\x0d\x0b"
ODD = 0x9E3779B97F4A7C15
INVERSE = pow(ODD, -1, 1 << 64)


def mix(*parts: int) -> int:
    """Hash integers to 64 well-spread bits."""
    value = 0x243F6A8885A308D3
    for part in parts:
        value = (value ^ part) * 0xBF58476D1CE4E5B9 & MASK
        value = (value ^ value >> 29) * 0x94D049BB133111EB & MASK
        value ^= value >> 32
    return value


def ulid(milliseconds: int, noise: int) -> str:
    """Write a ULID of a time and 64 random bits."""
    value = (milliseconds & (1 << 48) - 1) << 80 | (noise & MASK) << 16 | noise >> 7 & 0xFFFF
    return "".join(CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def delivery_id(uid: int) -> str:
    """Write the public id of a delivery; it holds `+`, `/` and `=` as the service's ids do."""
    first = (uid * ODD + 77) & MASK
    return base64.b64encode(ID_PREFIX + struct.pack(">QQ", first, first * 31 + uid & MASK)).decode()


def delivery_uid(text: str) -> int | None:
    """Read a delivery's number back from its public id, None where it is not one of ours."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    if len(raw) != 22 or not raw.startswith(ID_PREFIX):
        return None
    uid = (struct.unpack(">Q", raw[6:14])[0] - 77) * INVERSE & MASK
    return uid if uid < 1 << 32 and delivery_id(uid) == text else None
