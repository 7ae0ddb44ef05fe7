"""Rails: checks of texts in requests and answers, and the machinery that runs them."""
