"""The learner's copy of the notebooks is made once and never replaced."""

from rlvr_helpers.my_work import COURSE, copy_notebooks, my_work_folder


def test_notebooks_are_copied_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RLVR_MY_WORK", str(tmp_path / "mine"))
    names = {path.name for path in (COURSE / "notebooks").glob("*.ipynb")}
    copy_notebooks()
    assert {path.name for path in my_work_folder().iterdir()} == names
    assert f"{len(names)} notebooks copied, 0 were there" in capsys.readouterr().out


def test_what_was_filled_in_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RLVR_MY_WORK", str(tmp_path))
    (tmp_path / "00_start_here.ipynb").write_text("mine")
    (tmp_path / "own.ipynb").write_text("my own")
    copy_notebooks()
    assert (tmp_path / "00_start_here.ipynb").read_text() == "mine"
    assert (tmp_path / "own.ipynb").read_text() == "my own"
    assert "2 were there and stay" in capsys.readouterr().out
    copy_notebooks()
    assert "0 notebooks copied" in capsys.readouterr().out


def test_it_lies_beside_the_notebooks_and_git_ignores_it(monkeypatch):
    monkeypatch.delenv("RLVR_MY_WORK", raising=False)
    assert my_work_folder() == COURSE / "notebooks" / "my_work"
    assert "my_work/" in (COURSE / ".gitignore").read_text().split()
