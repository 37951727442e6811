"""What the notebooks share: the course map, the learner's copy, recorded rollouts and runs."""
