"""Scripts that make the data and measure the course: not needed to read a lesson."""
