FROM condaforge/miniforge3:latest
LABEL io.github.snakemake.containerized="true"
LABEL io.github.snakemake.conda_env_hash="481edd7173637ab7098082f0a9cb97811e03df454a1c242a341dd4ae40b7bde1"
# Conda environment:
#   source: envs/attribution.yaml
#   prefix: /conda-envs/e6de7f52b5552a2f320531c79d00b79b
#   # Attribution, faithfulness, randomisation. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - numba ==0.68.1
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - pytorch ==2.13.0
#     - safetensors ==0.8.0
#     - scipy ==1.17.1
#     - transformers ==5.23.0
RUN mkdir -p /conda-envs/e6de7f52b5552a2f320531c79d00b79b
COPY envs/attribution.yaml /conda-envs/e6de7f52b5552a2f320531c79d00b79b/environment.yaml
# Conda environment:
#   source: envs/baselines.yaml
#   prefix: /conda-envs/7850d62f16d597916b388ea78f600b1e
#   # Baselines of prediction. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scikit-learn ==1.9.1
#     - scipy ==1.17.1
#     - threadpoolctl ==3.8.0
RUN mkdir -p /conda-envs/7850d62f16d597916b388ea78f600b1e
COPY envs/baselines.yaml /conda-envs/7850d62f16d597916b388ea78f600b1e/environment.yaml
# Conda environment:
#   source: envs/cells.yaml
#   prefix: /conda-envs/094c63f8d7d3c3a1ea915837afec70d5
#   # Selecting, labelling and splitting cells. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/094c63f8d7d3c3a1ea915837afec70d5
COPY envs/cells.yaml /conda-envs/094c63f8d7d3c3a1ea915837afec70d5/environment.yaml
# Conda environment:
#   source: envs/claims.yaml
#   prefix: /conda-envs/879ae6d83512f0e9cf520d64adeec914
#   # Claims. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - pyyaml ==6.0.3
#     - scipy ==1.17.1
#     - statsmodels ==0.15.0
RUN mkdir -p /conda-envs/879ae6d83512f0e9cf520d64adeec914
COPY envs/claims.yaml /conda-envs/879ae6d83512f0e9cf520d64adeec914/environment.yaml
# Conda environment:
#   source: envs/download.yaml
#   prefix: /conda-envs/08c1d520bcdf5c78ef0e6974d098ec81
#   # Fetching inputs. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - requests ==2.34.2
#     - urllib3 ==2.8.0
RUN mkdir -p /conda-envs/08c1d520bcdf5c78ef0e6974d098ec81
COPY envs/download.yaml /conda-envs/08c1d520bcdf5c78ef0e6974d098ec81/environment.yaml
# Conda environment:
#   source: envs/evidence.yaml
#   prefix: /conda-envs/f990ec8133828de67803533b32ba7c83
#   # Gene scores. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/f990ec8133828de67803533b32ba7c83
COPY envs/evidence.yaml /conda-envs/f990ec8133828de67803533b32ba7c83/environment.yaml
# Conda environment:
#   source: envs/export.yaml
#   prefix: /conda-envs/010371f4b7b54cc0fa3e14a8c23ffca1
#   # Gene tables, cells with scores and model cards for use elsewhere. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - jinja2 ==3.1.6
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - pyyaml ==6.0.3
#     - scipy ==1.17.1
#     - xlsxwriter ==3.3.1
RUN mkdir -p /conda-envs/010371f4b7b54cc0fa3e14a8c23ffca1
COPY envs/export.yaml /conda-envs/010371f4b7b54cc0fa3e14a8c23ffca1/environment.yaml
# Conda environment:
#   source: envs/expression.yaml
#   prefix: /conda-envs/4bd6081821627e7e01d7e04f0bf9e70c
#   # UMAP and differential expression. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - loguru ==0.7.3
#     - numba ==0.68.1
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scanpy ==1.11.5
#     - scipy ==1.17.1
#     - threadpoolctl ==3.8.0
#     - pip
#     - pip:  # not on conda-forge
#         - illico==0.6.0
RUN mkdir -p /conda-envs/4bd6081821627e7e01d7e04f0bf9e70c
COPY envs/expression.yaml /conda-envs/4bd6081821627e7e01d7e04f0bf9e70c/environment.yaml
# Conda environment:
#   source: envs/figures.yaml
#   prefix: /conda-envs/c0e6fe51f4e7fc169b021816ee6dda62
#   # Figures. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - matplotlib-base ==3.11.2
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/c0e6fe51f4e7fc169b021816ee6dda62
COPY envs/figures.yaml /conda-envs/c0e6fe51f4e7fc169b021816ee6dda62/environment.yaml
# Conda environment:
#   source: envs/matrices.yaml
#   prefix: /conda-envs/d37666f19f313aa7ef3900938145da97
#   # Simulating and reading datasets. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scipy ==1.17.1
#     - zarr ==3.1.6
#     - pip
#     - pip:  # its plugins serve any h5py, conda-forge may be a version behind
#         - hdf5plugin ==7.1.0
RUN mkdir -p /conda-envs/d37666f19f313aa7ef3900938145da97
COPY envs/matrices.yaml /conda-envs/d37666f19f313aa7ef3900938145da97/environment.yaml
# Conda environment:
#   source: envs/models.yaml
#   prefix: /conda-envs/29e5c5913be02c446cab2122cd99fa60
#   # Training, attention. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - accelerate ==1.15.0  # one fine-tuning on several GPUs
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - numba ==0.68.1
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - pytorch ==2.13.0
#     - safetensors ==0.8.0
#     - scikit-learn ==1.9.1
#     - scipy ==1.17.1
#     - threadpoolctl ==3.8.0
#     - transformers ==5.23.0
RUN mkdir -p /conda-envs/29e5c5913be02c446cab2122cd99fa60
COPY envs/models.yaml /conda-envs/29e5c5913be02c446cab2122cd99fa60/environment.yaml
# Conda environment:
#   source: envs/provenance.yaml
#   prefix: /conda-envs/01d8170795666e391567f09f07e93711
#   # What a study rests on. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - pip
#     - pip:
#         - rocrate ==0.16.0
RUN mkdir -p /conda-envs/01d8170795666e391567f09f07e93711
COPY envs/provenance.yaml /conda-envs/01d8170795666e391567f09f07e93711/environment.yaml
# Conda environment:
#   source: envs/pseudobulk.yaml
#   prefix: /conda-envs/45a5402f1b650a53d75772754104ea5c
#   # Differential expression by wells. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - pydeseq2 ==0.5.4
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/45a5402f1b650a53d75772754104ea5c
COPY envs/pseudobulk.yaml /conda-envs/45a5402f1b650a53d75772754104ea5c/environment.yaml
# Conda environment:
#   source: envs/report.yaml
#   prefix: /conda-envs/c447a8ea57c07cffd97d71ac476f3792
#   # The page. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - altair ==6.3.0
#     - itables ==2.9.1
#     - jinja2 ==3.1.6
#     - jsonschema ==4.26.0
#     - matplotlib-base ==3.11.2
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pillow ==13.0.0
#     - pyarrow ==26.0.1
#     - pyyaml ==6.0.3
#     - scipy ==1.17.1
#     - vl-convert-python ==1.9.0.post1
RUN mkdir -p /conda-envs/c447a8ea57c07cffd97d71ac476f3792
COPY envs/report.yaml /conda-envs/c447a8ea57c07cffd97d71ac476f3792/environment.yaml
# Conda environment:
#   source: envs/tables.yaml
#   prefix: /conda-envs/fab22b69a8b1922bb89b2032629a0624
#   # Scoring predictions, collecting tables. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/fab22b69a8b1922bb89b2032629a0624
COPY envs/tables.yaml /conda-envs/fab22b69a8b1922bb89b2032629a0624/environment.yaml
# Conda environment:
#   source: envs/tokens.yaml
#   prefix: /conda-envs/35a533781299d7e09c2df04f63f7ca8c
#   # Vocabulary and tokens. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - h5py ==3.16.0
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/35a533781299d7e09c2df04f63f7ca8c
COPY envs/tokens.yaml /conda-envs/35a533781299d7e09c2df04f63f7ca8c/environment.yaml

RUN conda env create --prefix /conda-envs/e6de7f52b5552a2f320531c79d00b79b --file /conda-envs/e6de7f52b5552a2f320531c79d00b79b/environment.yaml && \
    conda env create --prefix /conda-envs/7850d62f16d597916b388ea78f600b1e --file /conda-envs/7850d62f16d597916b388ea78f600b1e/environment.yaml && \
    conda env create --prefix /conda-envs/094c63f8d7d3c3a1ea915837afec70d5 --file /conda-envs/094c63f8d7d3c3a1ea915837afec70d5/environment.yaml && \
    conda env create --prefix /conda-envs/879ae6d83512f0e9cf520d64adeec914 --file /conda-envs/879ae6d83512f0e9cf520d64adeec914/environment.yaml && \
    conda env create --prefix /conda-envs/08c1d520bcdf5c78ef0e6974d098ec81 --file /conda-envs/08c1d520bcdf5c78ef0e6974d098ec81/environment.yaml && \
    conda env create --prefix /conda-envs/f990ec8133828de67803533b32ba7c83 --file /conda-envs/f990ec8133828de67803533b32ba7c83/environment.yaml && \
    conda env create --prefix /conda-envs/010371f4b7b54cc0fa3e14a8c23ffca1 --file /conda-envs/010371f4b7b54cc0fa3e14a8c23ffca1/environment.yaml && \
    conda env create --prefix /conda-envs/4bd6081821627e7e01d7e04f0bf9e70c --file /conda-envs/4bd6081821627e7e01d7e04f0bf9e70c/environment.yaml && \
    conda env create --prefix /conda-envs/c0e6fe51f4e7fc169b021816ee6dda62 --file /conda-envs/c0e6fe51f4e7fc169b021816ee6dda62/environment.yaml && \
    conda env create --prefix /conda-envs/d37666f19f313aa7ef3900938145da97 --file /conda-envs/d37666f19f313aa7ef3900938145da97/environment.yaml && \
    conda env create --prefix /conda-envs/29e5c5913be02c446cab2122cd99fa60 --file /conda-envs/29e5c5913be02c446cab2122cd99fa60/environment.yaml && \
    conda env create --prefix /conda-envs/01d8170795666e391567f09f07e93711 --file /conda-envs/01d8170795666e391567f09f07e93711/environment.yaml && \
    conda env create --prefix /conda-envs/45a5402f1b650a53d75772754104ea5c --file /conda-envs/45a5402f1b650a53d75772754104ea5c/environment.yaml && \
    conda env create --prefix /conda-envs/c447a8ea57c07cffd97d71ac476f3792 --file /conda-envs/c447a8ea57c07cffd97d71ac476f3792/environment.yaml && \
    conda env create --prefix /conda-envs/fab22b69a8b1922bb89b2032629a0624 --file /conda-envs/fab22b69a8b1922bb89b2032629a0624/environment.yaml && \
    conda env create --prefix /conda-envs/35a533781299d7e09c2df04f63f7ca8c --file /conda-envs/35a533781299d7e09c2df04f63f7ca8c/environment.yaml && \
    conda clean --all -y
