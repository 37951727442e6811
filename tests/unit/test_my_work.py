"""The learner's copy of the notebooks is made once and never replaced."""

import os
import stat

import nbformat
import pytest

from rlvr_helpers.exercises.tries import progress_file
from rlvr_helpers.kit.course_map import EXTRAS, LESSONS
from rlvr_helpers.kit.my_work import copy_notebooks, my_work_folder
from rlvr_helpers.paths import COURSE
from rlvr_helpers.study.comparison import Comparison
from rlvr_helpers.study.pilot import run_pilot


def test_notebooks_are_copied_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RLVR_MY_WORK", str(tmp_path / "mine"))
    names = {f"{lesson.name}.ipynb" for lesson in LESSONS + EXTRAS}
    copy_notebooks()
    mine = my_work_folder()
    assert {
        path.relative_to(mine).as_posix() for path in mine.rglob("*") if path.is_file()
    } == names | {"REFERENCES.md"}
    assert (mine / "extras" / "12_scaling_up.ipynb").is_file()
    assert f"{len(names)} notebooks copied, 0 were there" in capsys.readouterr().out


def test_a_copy_gives_no_answer_away(tmp_path, monkeypatch):
    monkeypatch.setenv("RLVR_MY_WORK", str(tmp_path))
    copy_notebooks()
    ours = nbformat.read(COURSE / "notebooks" / "00_start_here.ipynb", as_version=4)
    mine = nbformat.read(tmp_path / "00_start_here.ipynb", as_version=4)
    assert [cell.source for cell in mine.cells] == [cell.source for cell in ours.cells]
    assert [cell.id for cell in mine.cells] == [cell.id for cell in ours.cells]
    code = [cell for cell in mine.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_a_home_folder_may_be_named_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("RLVR_MY_WORK", "~/my_work")
    monkeypatch.setenv("RLVR_PROGRESS", "~/progress.json")
    assert my_work_folder() == tmp_path / "my_work"
    assert progress_file() == tmp_path / "progress.json"


def test_what_was_filled_in_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RLVR_MY_WORK", str(tmp_path))
    (tmp_path / "00_start_here.ipynb").write_text("mine")
    (tmp_path / "own.ipynb").write_text("my own")
    extra = tmp_path / "extras" / "12_scaling_up.ipynb"
    extra.parent.mkdir()
    extra.write_text("mine too")
    copy_notebooks()
    assert (tmp_path / "00_start_here.ipynb").read_text() == "mine"
    assert (tmp_path / "own.ipynb").read_text() == "my own"
    assert (tmp_path / "REFERENCES.md").is_file(), "lessons link to it"
    assert extra.read_text() == "mine too"
    assert "3 were there and stay" in capsys.readouterr().out
    copy_notebooks()
    assert "0 notebooks copied" in capsys.readouterr().out


def test_it_lies_beside_the_notebooks_and_git_ignores_it(monkeypatch):
    monkeypatch.delenv("RLVR_MY_WORK", raising=False)
    assert my_work_folder() == COURSE / "notebooks" / "my_work"
    assert "my_work/" in (COURSE / ".gitignore").read_text().split()


def read_only(*_, **__):
    raise OSError(30, "Read-only file system", "/somewhere")


@pytest.mark.parametrize(
    "where", ["pathlib.Path.mkdir", "pathlib.Path.write_text", "pathlib.Path.rename"]
)
def test_a_course_that_cannot_be_written_names_the_variable(where, tmp_path, monkeypatch):
    monkeypatch.setenv("RLVR_MY_WORK", str(tmp_path / "mine"))
    monkeypatch.setattr(where, read_only)
    with pytest.raises(
        OSError, match="'mine' cannot be written .Read-only file system.: set .* RLVR_MY_WORK"
    ):
        copy_notebooks()


def test_a_file_in_the_place_of_the_folder_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/mine"):
        monkeypatch.setenv("RLVR_MY_WORK", str(tmp_path / place))
        with pytest.raises(OSError, match="RLVR_MY_WORK"):
            copy_notebooks()


@pytest.mark.skipif(
    os.name != "posix" or not os.geteuid(), reason="the owner of the machine may write anywhere"
)
def test_a_folder_without_the_right_to_write(tmp_path, monkeypatch):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("RLVR_MY_WORK", str(tmp_path / "mine"))
    with pytest.raises(PermissionError, match="RLVR_MY_WORK"):
        copy_notebooks()


@pytest.mark.parametrize("where", ["pathlib.Path.mkdir", "filelock.FileLock.acquire"])
def test_lesson_09_names_the_variable_too(where, tmp_path, monkeypatch):
    monkeypatch.setattr(where, read_only)
    with pytest.raises(
        OSError, match="'runs' cannot be written .Read-only file system.: .* RLVR_MY_WORK"
    ):
        run_pilot(Comparison(out=tmp_path / "runs"))
