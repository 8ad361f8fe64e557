"""Pure core: what a director should have, what it has, and the way between. No I/O, no clock, no log."""
