"""The pure half of the operator: what was seen goes in, what is to be done comes out. No I/O, no clock."""
