//! Life by its actions.
