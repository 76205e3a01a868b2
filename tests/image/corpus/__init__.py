"""Images made by hand: hostile ones, which may do no harm, and harmless ones, which must come out right."""
