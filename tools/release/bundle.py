"""Pack Caffe, pycaffe and autocolor with all that they need, to run where nothing can be installed."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from autocolor.core.files import atomic_path
from autocolor.core.programs import run_program

ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).resolve().parent / "bundle_files"
_MEBIBYTE = 2**20

# What every Linux has: glibc.
_GLIBC = re.compile(
    r"lib(c|m|dl|rt|pthread|util|resolv|mvec|anl)\.so\.\d+$|ld-linux-x86-64\.so\.2$"
)
# What comes with the GPU: CUDA, NCCL and the driver.
_CUDA = re.compile(r"lib(cuda|cudart|cublas|cublasLt|curand|cudnn|nccl|nvrtc)\.so\.\d+$")
# Large libraries that are there for a feature which nobody needs here. In their place stand small ones
# whose functions return 0, which their callers take for "cannot be opened".
_STAND_INS = {
    "libgdal": "maps and satellite images in OpenCV (GDAL)",
    "libgdcm": "DICOM images in OpenCV",
    "libcurl": "HDF5 files on S3",
    "libGLX": "OpenGL in OpenCV",
}
# The Python packages that training, `import caffe` and colorizing photos need; --full takes all.
_LEAN = ("lmdb", "numpy", "pillow", "protobuf", "six", "tqdm")
_LEAN_LEAVES_OUT = (
    "videos, TIFF, HDF5 from Python and what else needs more than the packages in python/"
)
# Parts of Python and of packages that only their developers use, or that need a terminal or a window.
_STDLIB_LEFT_OUT = shutil.ignore_patterns(
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtle*",
    "lib2to3",
    "ensurepip",
    "venv",
    "pydoc_data",
    "config-3*",
    "*-packages",
    "_test*",
    "xx*",
    "_xx*",
    "nis.*",
    "ossaudiodev.*",
    "_dbm.*",
    "_gdbm.*",
    "readline.*",
    "_curses*",
    "EXTERNALLY-MANAGED",
)
_LEFT_OUT_FOLDERS = {"__pycache__", "tests"}
_LEFT_OUT_SUFFIXES = {".a", ".h", ".pyc", ".pyi", ".pyx", ".pxd"}
_LEFT_OUT_FILES = re.compile(r"libavif-|_avif\.")  # pictures in AVIF
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

_MAIN = (
    "#include <Python.h>\nint main(int argc, char** argv) { return Py_BytesMain(argc, argv); }\n"
)

# Program -> what runs it in libexec/, and its first arguments.
_PROGRAMS = {
    "caffe": ("caffe", ""),
    "compute_image_mean": ("compute_image_mean", ""),
    "autocolor_tests": ("autocolor_tests", ""),
    "python": ("python", ""),
    "autocolor": ("python", "-m autocolor.cli"),
    "gpu_check": ("python", '"$root/checks/gpu.py"'),
}


class BundleError(RuntimeError):
    """A bundle cannot be made here; one line."""


def output_of(*command: object) -> str:
    """Return what a program prints.

    Raises
    ------
    BundleError
        If it is not there or fails.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise BundleError(
            f"{words[0]}: no such program; apt-get install patchelf binutils xz-utils"
        ) from error
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BundleError(f"{' '.join(words[:3])} failed: {last[0] if last else done.returncode}")
    return done.stdout


def is_elf(path: Path) -> bool:
    """Return whether a file is a program or a library."""
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def needed(path: Path) -> list[str]:
    """Return the names of the libraries that a program or a library is linked with."""
    return output_of("patchelf", "--print-needed", path).split()


def system_libraries() -> dict[str, Path]:
    """Return where the loader of this machine finds each library."""
    listed = output_of("/sbin/ldconfig", "-p")
    found: dict[str, Path] = {}
    for name, path in re.findall(r"^\t(\S+) \(libc6,x86-64.*?\) => (\S+)$", listed, re.MULTILINE):
        found.setdefault(name, Path(path))
    return found


def stand_in_for(name: str) -> str | None:
    """Return which feature goes with a library, if a stand-in takes its place."""
    return next((what for prefix, what in _STAND_INS.items() if name.startswith(prefix)), None)


def collect_libraries(elves: Iterable[Path], lib: Path) -> dict[str, set[Path]]:
    """Copy the libraries that programs and libraries need into `lib`, with those that these need.

    Returns
    -------
    dict
        Name of a library that a stand-in is to take the place of -> the files in the bundle that need it.

    Raises
    ------
    BundleError
        If this machine lacks one.
    """
    known = system_libraries()
    there = {path.name for path in elves} | {path.name for path in lib.iterdir()}
    waiting, stand_ins = list(elves), dict[str, set[Path]]()
    while waiting:
        path = waiting.pop()
        for name in needed(path):
            if _GLIBC.match(name) or _CUDA.match(name):
                continue
            if stand_in_for(name):
                stand_ins.setdefault(name, set()).add(path)
            elif name not in there:
                if name not in known:
                    raise BundleError(f"{path.name} needs {name}: not found on this machine")
                there.add(name)
                # OpenBLAS has all of BLAS and LAPACK in it: once is enough.
                if name in {"libblas.so.3", "liblapack.so.3"} and "libopenblas.so.0" in known:
                    (lib / name).symlink_to("libopenblas.so.0")
                    continue
                shutil.copy(known[name], lib / name)
                (lib / name).chmod(0o755)
                waiting.append(lib / name)
    return stand_ins


def _symbols(path: Path, kind: str) -> set[str]:
    """Return the symbols that a library defines, or lacks, as name or name@version."""
    lines = output_of("nm", "-D", f"--{kind}-only", path).splitlines()
    return {line.split()[-1].replace("@@", "@") for line in lines if line.strip()}


def write_stand_in(name: str, users: Iterable[Path], lib: Path) -> None:
    """Compile a library whose functions all return 0, in the place of one that is left out.

    Parameters
    ----------
    name : str
        ``libcurl.so.4``, for example.
    users : iterable of Path
        What needs it: the functions that these use are the ones it gets.
    lib : Path
        Where it is written.
    """
    real = system_libraries()[name]
    users = list(users)
    used = {symbol for user in users for symbol in _symbols(user, "undefined")}
    wanted = sorted(used & _symbols(real, "defined"))
    if not wanted:
        for user in users:
            output_of("patchelf", "--remove-needed", name, user)
        return
    functions, versions = [], dict[str, list[str]]()
    for number, symbol in enumerate(wanted):
        plain, _, version = symbol.partition("@")
        functions.append(
            f'long f{number}(void) __asm__("{plain}");\nlong f{number}(void) {{ return 0; }}\n'
        )
        versions.setdefault(version, []).append(plain)
    script = "".join(
        f"{version} {{ global: {'; '.join(names)}; }};\n"
        for version, names in versions.items()
        if version
    )
    with tempfile.TemporaryDirectory() as folder:
        source, mapping = Path(folder) / "stand_in.c", Path(folder) / "versions"
        source.write_text("".join(functions), encoding="utf-8")
        mapping.write_text(script, encoding="utf-8")
        linking = [f"-Wl,--version-script={mapping}"] if script else []
        output_of(
            "gcc",
            "-shared",
            "-fPIC",
            "-O1",
            "-s",
            "-nostdlib",
            f"-Wl,-soname,{name}",
            *linking,
            source,
            "-o",
            lib / name,
        )


def distributions(names: Iterable[str]) -> Iterator[metadata.Distribution]:
    """Yield installed Python packages and all that they require, each once."""
    waiting, seen = list(names), set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise BundleError(f"the Python package {name} is not installed here") from error
        yield found
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


def copy_packages(names: Iterable[str], out: Path) -> list[str]:
    """Copy installed Python packages and what they require; return their names and versions."""
    copied = []
    for distribution in distributions(names):
        for file in distribution.files or ():
            if (
                ".." in file.parts
                or _LEFT_OUT_FOLDERS & set(file.parts)
                or file.suffix in _LEFT_OUT_SUFFIXES
                or _LEFT_OUT_FILES.search(file.name)
            ):
                continue
            target = out / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target)
        copied.append(f"{distribution.metadata['Name']} {distribution.version}")
    return sorted(copied)


def copy_python(stage: Path) -> None:
    """Copy the standard library, and make a small program of libpython."""
    shutil.copytree(
        sysconfig.get_path("stdlib"),
        stage / "lib" / _PYTHON,
        ignore=_STDLIB_LEFT_OUT,
        ignore_dangling_symlinks=True,
    )
    # Debian's own hook is of no use elsewhere.
    (stage / "lib" / _PYTHON / "sitecustomize.py").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "main.c"
        source.write_text(_MAIN, encoding="utf-8")
        output_of(
            "gcc",
            "-O1",
            "-s",
            f"-I{sysconfig.get_path('include')}",
            source,
            f"-l{_PYTHON}",
            "-o",
            stage / "libexec" / "python",
        )


def copy_autocolor(stage: Path, has_model: bool) -> None:
    """Copy our own package, the networks and what checks a GPU."""
    left_out = ["__pycache__", *([] if has_model else ["weights.npz"])]
    shutil.copytree(
        ROOT / "python" / "autocolor",
        stage / "python" / "autocolor",
        ignore=shutil.ignore_patterns(*left_out),
    )
    shutil.copytree(
        ROOT / "prototxt", stage / "prototxt", ignore=shutil.ignore_patterns("*.py", "*.md")
    )
    shutil.copy(ROOT / "LICENSE", stage / "LICENSE")
    (stage / "checks").mkdir()
    for name in ("checks/gpu.py", "checks/gpu_steps.py", "bench/kernel_traffic.py"):
        shutil.copy(ROOT / "tools" / name, stage / "checks")


def copy_licences(stage: Path, libraries: Iterable[Path]) -> None:
    """Copy Debian's note on the licence of every library's package."""
    paths = [str(path) for path in libraries] + [str(path.resolve()) for path in libraries]
    listed = subprocess.run(
        ["dpkg", "-S", *paths], check=False, capture_output=True, text=True
    ).stdout
    packages = {line.split(":")[0] for line in listed.splitlines() if ": " in line}
    (stage / "licences").mkdir()
    for package in sorted(packages | {f"lib{_PYTHON}-stdlib"}):
        note = Path("/usr/share/doc") / package / "copyright"
        if note.is_file():
            shutil.copy(note, stage / "licences" / f"{package}.txt")


def newest_glibc(elves: Iterable[Path]) -> str:
    """Return the version of glibc that programs and libraries need."""
    versions = {(0, 0)}
    for path in elves:
        for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", output_of("objdump", "-T", path)):
            versions.add((int(major), int(minor)))
    return "{}.{}".format(*max(versions))


def make_relocatable(stage: Path) -> list[Path]:
    """Make ours and Debian's libraries find each other relative to themselves; return all ELF files.

    Raises
    ------
    BundleError
        If something needs a library that is not in the bundle.
    """
    elves = [path for path in sorted(stage.rglob("*")) if is_elf(path)]
    names = {path.name for path in stage.rglob("*")}
    for path in elves:
        wheels = stage / "python"
        if wheels not in path.parents or (wheels / "caffe") in path.parents:
            up = os.path.relpath(stage / "lib", path.parent)
            # As DT_RPATH, which goes before LD_LIBRARY_PATH: a folder of CUDA's may hold other
            # versions of what is here.
            output_of("patchelf", "--force-rpath", "--set-rpath", f"$ORIGIN/{up}", path)
        for name in needed(path):
            if name not in names and not _GLIBC.match(name) and not _CUDA.match(name):
                raise BundleError(
                    f"{path.relative_to(stage)} needs {name}, which is not in the bundle"
                )
    return elves


def launcher(program: str, cuda: Iterable[str]) -> str:
    """Return the script that finds CUDA's libraries, if there are any in `cuda`, and runs a program."""
    binary, arguments = _PROGRAMS[program]
    words = {"CUDA": " ".join(cuda), "PROGRAM": program, "BINARY": binary, "ARGUMENTS": arguments}
    return _filled("launcher.sh", words)


def _filled(name: str, words: dict[str, str]) -> str:
    """Return a text of bundle_files/ with each @WORD@ in it replaced."""
    text = (FILES / name).read_text(encoding="utf-8")
    return re.sub(r"@([A-Z_]+)@", lambda match: words[match[1]], text)


def build_with_cuda(architectures: str, jobs: int) -> Path:
    """Build Caffe with CUDA in a folder of its own, or go on with that; return the folder."""
    folder = ROOT / "build" / "bundle" / "cuda"
    cache = (ROOT / "build" / "CMakeCache.txt").read_text(encoding="utf-8")
    source = re.search(r"^CAFFE_SOURCE_DIR:PATH=(.*)$", cache, re.MULTILINE)
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        raise BundleError("--cuda: expected nvcc of the CUDA toolkit on the PATH, found none")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    compilers = [f"-DCMAKE_{language}_COMPILER_LAUNCHER=ccache" for language in ("CXX", "CUDA")]
    with log.open("w", encoding="utf-8") as stream:
        for command in (
            [
                "cmake",
                "-S",
                ROOT,
                "-B",
                folder,
                "-G",
                "Ninja",
                "-DCMAKE_BUILD_TYPE=Release",
                f"-DCAFFE_SOURCE_DIR={source[1] if source else ''}",
                *compilers,
                f"-DPython3_EXECUTABLE={sys.executable}",
                "-DWITH_CUDA=ON",
                f"-DCMAKE_CUDA_ARCHITECTURES={architectures}",
            ],
            [
                "ninja",
                "-C",
                folder,
                f"-j{jobs}",
                "caffe_tool",
                "compute_image_mean_tool",
                "autocolor_tests",
                "pycaffe",
                "pycaffe_files",
            ],
        ):
            environment = {**os.environ, "CUDACXX": nvcc}
            words = [str(word) for word in command]
            done = subprocess.run(words, check=False, stdout=stream, stderr=stream, env=environment)
            if done.returncode != 0:
                raise BundleError(f"the build with CUDA failed; the log is {log}")
    return folder


def stage_bundle(build: Path, stage: Path, full: bool, has_model: bool) -> dict[str, object]:
    """Fill a folder with the bundle.

    Parameters
    ----------
    build : Path
        A complete build of ours.
    stage : Path
        An empty folder.
    full : bool
        With every Python package that autocolor can use.
    has_model : bool
        With the model that comes with autocolor.

    Returns
    -------
    dict
        What is in it.

    Raises
    ------
    BundleError
        If something that belongs into it is not on this machine.
    """
    for name in ("bin", "lib", "libexec", "python"):
        (stage / name).mkdir()
    for name in ("caffe", "compute_image_mean", "autocolor_tests"):
        if not (build / "bin" / name).is_file():
            raise BundleError(f"{build / 'bin' / name}: no such program; run tools/setup.sh")
        shutil.copy(build / "bin" / name, stage / "libexec" / name)
    shutil.copy(build / "lib" / "libcaffe.so", stage / "lib")
    shutil.copytree(
        build / "python" / "caffe",
        stage / "python" / "caffe",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    ours = [
        *(stage / "libexec").iterdir(),
        stage / "lib" / "libcaffe.so",
        stage / "python/caffe/_caffe.so",
    ]
    for path in ours:
        output_of("strip", path)
    copy_autocolor(stage, has_model)
    requirements = [
        Requirement(text).name
        for text in metadata.requires("autocolor") or ()
        if "extra ==" not in text
    ]
    packages = copy_packages(requirements if full else _LEAN, stage / "python")
    copy_python(stage)
    elves = [path for path in stage.rglob("*") if is_elf(path)]
    stand_ins = collect_libraries(elves, stage / "lib")
    known = system_libraries()
    copy_licences(
        stage, [known[path.name] for path in (stage / "lib").glob("*.so*") if path.name in known]
    )
    for name, users in stand_ins.items():
        write_stand_in(name, users, stage / "lib")
    elves = make_relocatable(stage)
    cuda = sorted(
        {name for path in elves for name in needed(path) if _CUDA.match(name)} - {"libcuda.so.1"}
    )
    left_out = [
        what for prefix, what in _STAND_INS.items() if any(n.startswith(prefix) for n in stand_ins)
    ]
    glibc = newest_glibc(elves)
    commit = output_of("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD").strip()
    words = {
        "DEVICE": "NVIDIA GPUs and the CPU" if cuda else "the CPU",
        "GLIBC": glibc,
        "CUDA_TEXT": f", an NVIDIA driver, and {', '.join(cuda)} of CUDA" if cuda else "",
        "MODEL": "colorizes" + ("" if has_model else "; needs --model FOLDER, no model is here"),
        "PYTHON": sys.version.split()[0],
        "COMMIT": commit,
        "LEFT_OUT": ";\n".join(left_out + ([] if full else [_LEAN_LEAVES_OUT])),
    }
    for program in _PROGRAMS:
        (stage / "bin" / program).write_text(launcher(program, cuda), encoding="utf-8")
        (stage / "bin" / program).chmod(0o755)
    (stage / "README.txt").write_text(_filled("README.txt", words), encoding="utf-8")
    manifest = {
        "commit": commit,
        "python": words["PYTHON"],
        "packages": packages,
        "glibc": glibc,
        "cuda": cuda,
        "left_out": left_out,
        "has_model": has_model,
    }
    (stage / "bundle.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def compress(stage: Path, out: Path) -> None:
    """Write a folder as a tarball whose top folder is named as the file; by suffix with xz or zstd."""
    name = out.name.partition(".tar")[0]
    # --x86 makes addresses in machine code alike, which is worth some 8 %.
    program = (
        ["zstd", "-q", "-12", "-T1"]
        if out.name.endswith(".zst")
        else ["xz", "--x86", "--lzma2=preset=6e,dict=64MiB"]
    )
    tar: list[str] = [
        "tar",
        "-C",
        str(stage.parent),
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        f"--transform=s,^{re.escape(stage.name)},{name},S",
        "-c",
        stage.name,
    ]
    with atomic_path(out) as partial, partial.open("wb") as stream:
        with subprocess.Popen(tar, stdout=subprocess.PIPE) as reader:
            done = subprocess.run(program, check=False, stdin=reader.stdout, stdout=stream)
        if reader.returncode or done.returncode:
            raise BundleError(f"{out}: it could not be compressed")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="""\
examples:
  python tools/release/bundle.py build/autocolor-cpu.tar.xz
  python tools/release/bundle.py --cuda --no-model build/autocolor-cuda.tar.xz
  python tools/release/bundle.py --full build/autocolor-full.tar.xz      # videos, TIFF, …

On the cluster: tar xf autocolor-cpu.tar.xz; autocolor-cpu/bin/caffe train -solver …
docs/bundle.md says more. Exit status: 0, 1 if something is missing here, 2 on wrong usage.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "out", type=Path, help="FILE.tar.xz, FILE.tar.zst, or a folder that does not exist yet"
    )
    parser.add_argument(
        "--cuda", action="store_true", help="for NVIDIA GPUs as well: builds in build/bundle/cuda"
    )
    parser.add_argument(
        "--architectures",
        default="90-real",
        metavar="LIST",
        help="of GPUs, as CMAKE_CUDA_ARCHITECTURES: '80-real;90-real' (default: %(default)s, Hopper)",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="of the build with --cuda")
    parser.add_argument(
        "--full", action="store_true", help="with all Python packages that autocolor can use"
    )
    parser.add_argument(
        "--no-model",
        action="store_true",
        help="without the 29 MB of the model that comes with autocolor",
    )
    arguments = parser.parse_args(argv)
    if not arguments.out.name.endswith((".tar.xz", ".tar.zst")) and arguments.out.exists():
        parser.error(f"{arguments.out}: expected a new folder, .tar.xz or .tar.zst")
    if arguments.jobs < 1:
        parser.error(f"--jobs: expected at least 1, got {arguments.jobs}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the tool; returns the exit status."""
    arguments = _arguments(argv)
    out: Path = arguments.out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        build = ROOT / "build"
        if arguments.cuda:
            print(f"building with CUDA for {arguments.architectures} (minutes) …", flush=True)
            build = build_with_cuda(arguments.architectures, arguments.jobs)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix="bundle-") as folder:
            stage = Path(folder) / "bundle"
            stage.mkdir()
            print("gathering programs and libraries …", flush=True)
            manifest = stage_bundle(build, stage, arguments.full, not arguments.no_model)
            size = sum(p.lstat().st_size for p in stage.rglob("*") if not p.is_dir()) / _MEBIBYTE
            if ".tar" in out.name:
                print(f"compressing {size:.0f} MiB …", flush=True)
                compress(stage, out)
                size = out.stat().st_size / _MEBIBYTE
            else:
                stage.rename(out)
    except (BundleError, OSError) as error:
        print(f"bundle: error: {error}", file=sys.stderr)
        return 1
    print(
        f"{out}: {size:.1f} MiB, Python {manifest['python']}, glibc {manifest['glibc']}"
        f"{', CUDA of the machine' if manifest['cuda'] else ''}"
    )
    return 0


if __name__ == "__main__":
    run_program(main)
