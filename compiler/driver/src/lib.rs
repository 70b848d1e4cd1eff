//! tdl driver.
