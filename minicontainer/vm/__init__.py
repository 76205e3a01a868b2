"""Boot and own Linux virtual machines: their image, one guest, a network of several, and the tests inside."""
