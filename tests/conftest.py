"""Fixtures that several test files share: random policies of three families, and problems in their
words."""

import pytest
from small_policies import make_tiny, make_tokenizer, some_problems


@pytest.fixture
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def policy():
    """A Llama, fresh for each test."""
    return make_tiny()


@pytest.fixture(params=["llama", "qwen2", "gpt2"])
def any_policy(request):
    """The same test on every family."""
    return make_tiny(request.param)


@pytest.fixture
def problems():
    return some_problems()
