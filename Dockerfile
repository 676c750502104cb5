FROM condaforge/miniforge3:latest
LABEL io.github.snakemake.containerized="true"
LABEL io.github.snakemake.conda_env_hash="d40f2230d1218889a4c0bddb75977cff853bd294170eea8384b107c8d40b8bd0"
# Conda environment:
#   source: envs/attribution.yaml
#   prefix: /conda-envs/fe0879eae2395c776dc62e070852e14f
#   # Attribution, faithfulness, randomisation. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - numba ==0.68.1
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - pytorch ==2.13.0
#     - safetensors ==0.8.0
#     - scipy ==1.17.1
#     - tqdm ==4.70.1
#     - transformers ==5.23.0
#     - pip
#     - pip:  # this version is not on conda-forge
#         - captum==0.9.0
RUN mkdir -p /conda-envs/fe0879eae2395c776dc62e070852e14f
COPY envs/attribution.yaml /conda-envs/fe0879eae2395c776dc62e070852e14f/environment.yaml
# Conda environment:
#   source: envs/baselines.yaml
#   prefix: /conda-envs/72705d836946ce4268d012c598ed736d
#   # Baselines of prediction. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scikit-learn ==1.9.1
#     - scipy ==1.17.1
#     - threadpoolctl ==3.8.0
RUN mkdir -p /conda-envs/72705d836946ce4268d012c598ed736d
COPY envs/baselines.yaml /conda-envs/72705d836946ce4268d012c598ed736d/environment.yaml
# Conda environment:
#   source: envs/cells.yaml
#   prefix: /conda-envs/711cf1fb4fbbb1e9e325ab840814ab72
#   # Selecting, labelling and splitting cells. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scanpy ==1.11.5
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/711cf1fb4fbbb1e9e325ab840814ab72
COPY envs/cells.yaml /conda-envs/711cf1fb4fbbb1e9e325ab840814ab72/environment.yaml
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
#   prefix: /conda-envs/c74a4b58e5b13dc44b776e1bb7fc7f5a
#   # Gene scores. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/c74a4b58e5b13dc44b776e1bb7fc7f5a
COPY envs/evidence.yaml /conda-envs/c74a4b58e5b13dc44b776e1bb7fc7f5a/environment.yaml
# Conda environment:
#   source: envs/expression.yaml
#   prefix: /conda-envs/d720abd2e139cdacf992166af59e1cd6
#   # UMAP and differential expression. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
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
RUN mkdir -p /conda-envs/d720abd2e139cdacf992166af59e1cd6
COPY envs/expression.yaml /conda-envs/d720abd2e139cdacf992166af59e1cd6/environment.yaml
# Conda environment:
#   source: envs/figures.yaml
#   prefix: /conda-envs/7fad7334042afa1c726d5535a1fc20ce
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
RUN mkdir -p /conda-envs/7fad7334042afa1c726d5535a1fc20ce
COPY envs/figures.yaml /conda-envs/7fad7334042afa1c726d5535a1fc20ce/environment.yaml
# Conda environment:
#   source: envs/matrices.yaml
#   prefix: /conda-envs/179d1dc74aa91188ab2cac03ee6041be
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
RUN mkdir -p /conda-envs/179d1dc74aa91188ab2cac03ee6041be
COPY envs/matrices.yaml /conda-envs/179d1dc74aa91188ab2cac03ee6041be/environment.yaml
# Conda environment:
#   source: envs/models.yaml
#   prefix: /conda-envs/86cbd7fcfd6bc33d504ed9dc3a868a51
#   # Training, attention. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - accelerate ==1.15.0  # one fine-tuning on several GPUs
#     - anndata ==0.12.19
#     - numba ==0.68.1
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - pytorch ==2.13.0
#     - safetensors ==0.8.0
#     - scikit-learn ==1.9.1
#     - scipy ==1.17.1
#     - threadpoolctl ==3.8.0
#     - tqdm ==4.70.1
#     - transformers ==5.23.0
RUN mkdir -p /conda-envs/86cbd7fcfd6bc33d504ed9dc3a868a51
COPY envs/models.yaml /conda-envs/86cbd7fcfd6bc33d504ed9dc3a868a51/environment.yaml
# Conda environment:
#   source: envs/pseudobulk.yaml
#   prefix: /conda-envs/0b55cffa20ff7f4f28fb1e48c21c2b74
#   # Differential expression by wells. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - pydeseq2 ==0.5.4
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/0b55cffa20ff7f4f28fb1e48c21c2b74
COPY envs/pseudobulk.yaml /conda-envs/0b55cffa20ff7f4f28fb1e48c21c2b74/environment.yaml
# Conda environment:
#   source: envs/report.yaml
#   prefix: /conda-envs/bd51a942fe7df18a85eb5b796c19bd21
#   # The page. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - jinja2 ==3.1.6
#     - markupsafe ==3.0.4
#     - matplotlib-base ==3.11.2
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pillow ==13.0.0
#     - pyarrow ==26.0.1
#     - pyyaml ==6.0.3
RUN mkdir -p /conda-envs/bd51a942fe7df18a85eb5b796c19bd21
COPY envs/report.yaml /conda-envs/bd51a942fe7df18a85eb5b796c19bd21/environment.yaml
# Conda environment:
#   source: envs/tables.yaml
#   prefix: /conda-envs/b207446600e8bd88ab7b5e9f6f1e0989
#   # Scoring predictions, collecting tables. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/b207446600e8bd88ab7b5e9f6f1e0989
COPY envs/tables.yaml /conda-envs/b207446600e8bd88ab7b5e9f6f1e0989/environment.yaml
# Conda environment:
#   source: envs/tokens.yaml
#   prefix: /conda-envs/9b040b92a79814a634ed29be74da462a
#   # Vocabulary and tokens. Pins equal requirements.lock.
#   channels:
#     - conda-forge
#     - bioconda
#     - nodefaults
#   dependencies:
#     - python =3.11
#     - anndata ==0.12.19
#     - numpy ==2.4.6
#     - pandas ==2.3.3
#     - pyarrow ==26.0.1
#     - scipy ==1.17.1
RUN mkdir -p /conda-envs/9b040b92a79814a634ed29be74da462a
COPY envs/tokens.yaml /conda-envs/9b040b92a79814a634ed29be74da462a/environment.yaml

RUN conda env create --prefix /conda-envs/fe0879eae2395c776dc62e070852e14f --file /conda-envs/fe0879eae2395c776dc62e070852e14f/environment.yaml && \
    conda env create --prefix /conda-envs/72705d836946ce4268d012c598ed736d --file /conda-envs/72705d836946ce4268d012c598ed736d/environment.yaml && \
    conda env create --prefix /conda-envs/711cf1fb4fbbb1e9e325ab840814ab72 --file /conda-envs/711cf1fb4fbbb1e9e325ab840814ab72/environment.yaml && \
    conda env create --prefix /conda-envs/879ae6d83512f0e9cf520d64adeec914 --file /conda-envs/879ae6d83512f0e9cf520d64adeec914/environment.yaml && \
    conda env create --prefix /conda-envs/08c1d520bcdf5c78ef0e6974d098ec81 --file /conda-envs/08c1d520bcdf5c78ef0e6974d098ec81/environment.yaml && \
    conda env create --prefix /conda-envs/c74a4b58e5b13dc44b776e1bb7fc7f5a --file /conda-envs/c74a4b58e5b13dc44b776e1bb7fc7f5a/environment.yaml && \
    conda env create --prefix /conda-envs/d720abd2e139cdacf992166af59e1cd6 --file /conda-envs/d720abd2e139cdacf992166af59e1cd6/environment.yaml && \
    conda env create --prefix /conda-envs/7fad7334042afa1c726d5535a1fc20ce --file /conda-envs/7fad7334042afa1c726d5535a1fc20ce/environment.yaml && \
    conda env create --prefix /conda-envs/179d1dc74aa91188ab2cac03ee6041be --file /conda-envs/179d1dc74aa91188ab2cac03ee6041be/environment.yaml && \
    conda env create --prefix /conda-envs/86cbd7fcfd6bc33d504ed9dc3a868a51 --file /conda-envs/86cbd7fcfd6bc33d504ed9dc3a868a51/environment.yaml && \
    conda env create --prefix /conda-envs/0b55cffa20ff7f4f28fb1e48c21c2b74 --file /conda-envs/0b55cffa20ff7f4f28fb1e48c21c2b74/environment.yaml && \
    conda env create --prefix /conda-envs/bd51a942fe7df18a85eb5b796c19bd21 --file /conda-envs/bd51a942fe7df18a85eb5b796c19bd21/environment.yaml && \
    conda env create --prefix /conda-envs/b207446600e8bd88ab7b5e9f6f1e0989 --file /conda-envs/b207446600e8bd88ab7b5e9f6f1e0989/environment.yaml && \
    conda env create --prefix /conda-envs/9b040b92a79814a634ed29be74da462a --file /conda-envs/9b040b92a79814a634ed29be74da462a/environment.yaml && \
    conda clean --all -y
