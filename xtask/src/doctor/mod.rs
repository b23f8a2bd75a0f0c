//! Checks of this machine, the configuration and the credentials.
