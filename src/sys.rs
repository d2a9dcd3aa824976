//! The only unsafe code: thin wrappers over what neither std nor nix can say.
