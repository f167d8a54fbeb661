//! Reading objects from YAML text.
