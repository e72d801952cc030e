"""The documented limits of the Track API, in bytes unless a name says otherwise (section 9 of customerio-api.md)."""

from typing import Final

OPERATION: Final = 32_768
"""One operation: the body of /entity, or one element of a batch."""
BATCH: Final = 500_000
"""The whole body of /batch."""
IDENTIFIER: Final = 150
"""`id` and `cio_id` of a person, `object_id` and `cio_object_id`."""
EMAIL: Final = 254
"""RFC 5321's longest address; Customer.io states none of its own."""
ATTRIBUTE_NAME: Final = 150
ATTRIBUTE_VALUE: Final = 1000
"""One attribute of a person, object or relationship; event data have no limit per value."""
ATTRIBUTES: Final = 100_000
"""All attributes of an object or relationship, and the data of an event (stated for version 1)."""
ATTRIBUTE_COUNT: Final = 300
"""Attributes in one identify, of an object, of a relationship."""
EVENT_NAME: Final = 100
SEGMENT_IDS: Final = 1000
"""People in one call that adds to or removes from a manual segment (a count)."""
