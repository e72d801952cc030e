"""Tests of the local Customer.io: it must be strict and awkward, and its truth must be what its pages give."""
