"""Packages to race against, for `python3 -m lib bench --peers FOLDER`: the course needs none of them.

They conflict with each other and with the course, so each is installed into a folder of its own, without what it
depends on. transformers, tokenizers and rwkv are in the course's requirements.
"""

import subprocess
import sys

PACKAGES = {
    "fla-core": ["fla-core==0.6.0"],
    "litgpt": ["litgpt==0.5.13", "lightning==2.6.6", "lightning-utilities==0.15.3", "torchmetrics==1.9.0"],
    "rwkv-fla": ["rwkv-fla==0.7.202508221413"],
    "rwkv7-hf": ["rwkv7-hf==0.9.0"],
    "rwkv_simple": ["rwkv_simple==0.1.1"],
}


def install_peers(folder, run=subprocess.run):
    """Install into `folder` the peers that are not there yet. One that can't be had is named, and then not measured."""
    for name, packages in PACKAGES.items():
        if (folder / name).is_dir():
            continue
        part = folder / f"{name}.part"  # what pip leaves when it fails is no package
        print(f"{name}: installing it into {folder}", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(part)]
        if run([*command, *packages]).returncode == 0:
            part.rename(folder / name)
        else:
            print(f"{name}: pip could not install {' '.join(packages)}; what it says is above", flush=True)
