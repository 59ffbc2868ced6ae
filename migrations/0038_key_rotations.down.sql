-- What waits to be sealed anew is known from the headers of the values.
DROP TABLE key_rotations;
