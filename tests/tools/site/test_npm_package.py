"""An npm package is taken only as it was published: by npm, or from the registry that npm is set to."""

import hashlib
import io
import tarfile

import pytest

from lessons.tools.site import npm_package
from lib.text.download import DownloadError


def packed(files):
    """The bytes of a package with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return buffer.getvalue()


CONTENT = packed({"dist/a.js": b"let a", "dist/b.wasm": b"\0asm"})


@pytest.fixture
def package(tmp_path):
    file = tmp_path / "published"
    file.write_bytes(CONTENT)
    return npm_package.Package(
        "a", "1.0.0", npm_package.integrity(file), len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
    )


def test_files_of_a_kept_package_are_unpacked_and_nobody_is_asked(package, tmp_path, monkeypatch):
    monkeypatch.setattr(npm_package, "by_npm", lambda *_: pytest.fail("asked npm"))
    (tmp_path / "a-1.0.0.tgz").write_bytes(CONTENT)
    npm_package.unpack(package, ["dist/a.js", "dist/b.wasm"], tmp_path / "out", tmp_path)
    assert (tmp_path / "out/a.js").read_bytes() == b"let a" and (tmp_path / "out/b.wasm").read_bytes() == b"\0asm"
    with pytest.raises(npm_package.PackageError, match=r"a 1\.0\.0 has no dist/c\.js"):
        npm_package.unpack(package, ["dist/c.js"], tmp_path / "out", tmp_path)


def test_another_package_of_that_name_is_refused_and_not_kept(package, tmp_path, monkeypatch):
    def other(package, path):
        path.write_bytes(CONTENT + b"more")
        return True

    monkeypatch.setattr(npm_package, "by_npm", other)
    with pytest.raises(npm_package.PackageError, match="it is not what was published") as said:
        npm_package.archive(package, tmp_path / "cache")
    assert not isinstance(said.value, npm_package.Unreachable) and not list((tmp_path / "cache").iterdir())


def test_without_npm_the_registry_of_the_settings_is_asked(package, tmp_path, monkeypatch):
    asked = []

    def fetch(source, folder):
        asked.append(source.url)
        if len(asked) == 1:
            raise DownloadError("no way") from OSError("no route")
        (folder / source.file).write_bytes(CONTENT)

    (tmp_path / ".npmrc").write_text("fund=false\nregistry = https://mirror.example/npm/\n", encoding="utf-8")
    monkeypatch.setattr(npm_package.shutil, "which", lambda name: None)
    monkeypatch.setattr(npm_package.Path, "home", lambda: tmp_path)
    monkeypatch.setattr(npm_package, "fetch", fetch)
    with pytest.raises(npm_package.Unreachable, match=r"no route.*put the file at .*a-1\.0\.0\.tgz"):
        npm_package.archive(package, tmp_path / "cache")
    assert npm_package.archive(package, tmp_path / "cache").read_bytes() == CONTENT
    assert asked[1] == "https://mirror.example/npm/a/-/a-1.0.0.tgz"
    assert npm_package.registry(tmp_path / "none") == npm_package.REGISTRY
