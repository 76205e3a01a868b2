"""The registry client: distribution-spec 1.1 over urllib3, for every real registry."""
