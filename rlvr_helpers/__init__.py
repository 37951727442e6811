"""The small package behind the course: one file an idea, in the order in which data flows."""
