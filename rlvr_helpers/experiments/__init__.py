"""Live experiments of the lessons that need more code than a cell should hold."""
