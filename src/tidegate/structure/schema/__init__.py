"""What a JSON schema allows: the document, the alternatives that each place in an answer has, and what they are made of."""
