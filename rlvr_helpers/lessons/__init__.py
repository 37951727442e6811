"""One room for each lesson: its exercises, figures, explorers and experiment."""
