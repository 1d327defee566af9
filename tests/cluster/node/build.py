"""Build an image from a Dockerfile without Docker."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.progress import run

from .host import IMAGE_BUILD_PACKAGES, install

_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def build_image(
    context: Path,
    name: str,
    target: Path,
    *,
    bases: Mapping[str, Path] | None = None,
    build_args: Mapping[str, str] | None = None,
    dockerfile: str = "Dockerfile",
) -> Path:
    """Build `context` with buildah and write the Docker archive `target`, which carries `name`. Needs root.

    Args:
        bases: image name -> archive, for the `FROM` lines; nothing else need be pulled.
        build_args: for example the name of the base image.
    """
    install(IMAGE_BUILD_PACKAGES)
    with tempfile.TemporaryDirectory(prefix="redisop-image-") as folder:
        scratch = Path(folder)
        # Mounts of the build are made in a mount namespace of its own, and end with it.
        buildah = ["unshare", "--mount", "buildah", f"--root={scratch / 'storage'}", f"--runroot={scratch / 'run'}"]
        buildah += ["--storage-driver=overlay"]
        for base, archive in (bases or {}).items():
            run(f"base image {base}", [*buildah, "pull", "--quiet", f"oci-archive:{archive}"])
        options = ["--isolation=chroot", "--network=host", "--pull=never", "--format=docker", f"--tag={name}"]
        options += [f"--build-arg={key}={value}" for key, value in (build_args or {}).items()]
        if _CA_BUNDLE.exists():
            # A machine behind a proxy trusts more than the image does, and pip must, too.
            (scratch / "pip.conf").write_text(f"[global]\ncert = {_CA_BUNDLE}\n")
            options += [f"--volume={_CA_BUNDLE}:{_CA_BUNDLE}:ro", f"--volume={scratch / 'pip.conf'}:/etc/pip.conf:ro"]
        command = [*buildah, "build", *options, f"--file={context / dockerfile}", str(context)]
        run(f"image {name}", command)
        partial = scratch / "image.tar"
        run(f"archive of {name}", [*buildah, "push", "--quiet", name, f"docker-archive:{partial}:{name}"])
        shutil.move(partial, target)
    return target
