"""Every word that a live explorer shows, by explorer: the one file to translate. `{n}` is filled in by the explorer."""

WORDS = {
    "token_lens": {
        "title": "The token lens",
    },
}
