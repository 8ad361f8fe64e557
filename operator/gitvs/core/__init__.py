"""Pure core: what a director should have, what it has, the way between. No I/O, no clock."""
