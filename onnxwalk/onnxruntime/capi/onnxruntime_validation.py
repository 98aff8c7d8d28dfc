"""What ONNX Runtime says about its own installation."""

from onnxwalk.onnxruntime.globals import VERSION, package_name


def check_distro_info() -> None:
    """Nothing to check: there are no compiled libraries."""


def get_package_name_and_version_info() -> tuple[str, str, str]:
    """The package's name, its version, and that of CUDA: there is none."""
    return package_name, VERSION, ""
