"""The description of the HTTP interface in the form of OpenAPI, made from the types that read requests."""
