"""The APIs that clients speak, one file each: read a body into a Call, write an answer."""
