//! What a compiled tdl program needs at run time.
