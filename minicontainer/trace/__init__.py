"""Events of the story that a command tells, and their witnesses."""
