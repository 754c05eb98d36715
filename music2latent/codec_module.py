"""A checkpoint's networks in use, as a torch module: where they are, in what precision, which weights they hold now."""

from __future__ import annotations

import dataclasses
import logging
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from . import hub
from .checkpoint import Checkpoint, fingerprint
from .chunk_coding import Runner
from .devices import keep_freed_memory, resolve_device, resolve_dtype
from .display import facts_html
from .errors import InputError, whole_number
from .threads import survive_forks

logger = logging.getLogger(__name__)


class CodecModule(nn.Module):
    """What `EncoderDecoder` is besides its verbs; for the arguments see there."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str | torch.device | None,
        dtype: str | torch.dtype,
        *,
        compile: bool,
        batch_size: int,
    ) -> None:
        super().__init__()
        target = resolve_device(device)
        self.checkpoint = checkpoint
        """The model as it was loaded."""
        self.gen = self.checkpoint.build()
        """The networks, a `torch.nn.Module` with `.encoder` and `.decoder`."""
        self.gen.to(target, resolve_dtype(dtype, target))
        self.gen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the layout for fast convolutions
        if compile:
            self.gen.compile_networks()
        self.runner = Runner(self.gen, whole_number("batch_size", batch_size))
        """Runs the chunks of `compress`, `decompress` and streams."""

        self.config = self.checkpoint.config
        """The model's configuration."""
        self.sample_rate = self.config.sample_rate
        """Rate in Hz that audio is coded at, unless a call says otherwise."""
        self.latent_dim = self.config.latent_dim
        """Channels of the latents."""
        self.frame_size = self.config.frame_size
        """Samples per latent."""
        self.frame_rate = self.config.frame_rate
        """Latents per second."""
        self.latent_scale = self.checkpoint.latent_scale
        """Latents are the network's tanh output divided by this."""
        self.feature_dim = self.config.feature_dim
        """Channels of the encoder's features."""
        self.num_parameters = self.gen.num_parameters
        """Number of weights."""
        self.model_id = self.checkpoint.model_id
        """The model's name, as latents record it."""
        self._loaded_fingerprint = self._fingerprint = self.checkpoint.fingerprint()
        self._version = self._weights_version()
        self.eval()
        self._prepare_process()
        logger.info("%s (%s), %s", self, self.fingerprint[:12], checkpoint.provenance)

    def _prepare_process(self) -> None:
        """What a process needs that computes with this codec."""
        survive_forks()
        if self.device.type == "cpu":
            keep_freed_memory()

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.gen.device

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in."""
        return self.gen.dtype

    @property
    def fingerprint(self) -> str:
        """SHA-256 of configuration and weights: as they were loaded, in whatever precision they compute, until they are
        trained."""
        version = self._weights_version()
        if version != self._version:
            weights = self.checkpoint.state_dict if self._is_as_loaded() else self.gen.state_dict()
            self._fingerprint = fingerprint(self.config, weights, self.latent_scale)
            self._version = version
        return self._fingerprint

    def decodes(self, fingerprint: str) -> bool:
        """Whether latents of the model with that fingerprint are latents of this one: it is the same, or this one was
        trained on from it with a frozen encoder (`Checkpoint.latents_of`), and not changed since it was loaded."""
        own = self.fingerprint
        return fingerprint == own or (own == self._loaded_fingerprint and fingerprint in self.checkpoint.latents_of)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `model.safetensors`, `config.json` and a model card; `from_pretrained(folder)` reads them.

        Raises:
            InputError: weights that were changed and are in 16 bits, or an unwritable folder.
        """
        hub.write_folder(folder, self._to_save())

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Upload with music2latent",
    ) -> str:
        """Upload what `save_pretrained` writes to a repository on the hub, created if need be; returns its address."""
        return hub.upload(
            repo_id, self._to_save(), private=private, token=token, revision=revision, commit_message=commit_message
        )

    def _is_as_loaded(self) -> bool:
        """Whether the networks are still those of `checkpoint`, in whatever precision."""
        loaded, now = self.checkpoint.state_dict, self.gen.state_dict()
        return loaded.keys() == now.keys() and all(torch.equal(loaded[key].to(now[key]), now[key]) for key in now)

    def _to_save(self) -> Checkpoint:
        """The checkpoint, with the weights as they are now: a caller may have trained them."""
        if self._is_as_loaded():
            return self.checkpoint
        if self.dtype != torch.float32:
            raise InputError(f"weights rounded to {self.dtype} are not saved; to train, load them with dtype='float32'")
        return dataclasses.replace(self.checkpoint, state_dict=self.gen.state_dict(), latents_of=())

    def _graph(self, grad: bool) -> AbstractContextManager[Any]:
        """With gradients, or without; refuses to train weights that 16 bits would round after every step."""
        if not grad:
            return torch.no_grad()
        if self.dtype != torch.float32 and any(weight.requires_grad for weight in self.gen.parameters()):
            raise InputError(
                f"weights in {self.dtype} cannot be trained, small steps are lost in rounding; load the model with "
                "dtype='float32', or, for gradients of audio or latents alone, call codec.requires_grad_(False)"
            )
        return nullcontext()

    def _weights_version(self) -> int:
        """Another number after every change of the weights in place, as optimizers and load_state_dict make it."""
        return sum(weight._version for weight in self.gen.parameters())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_fingerprint": self.fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._version = self._weights_version()  # copies count anew
        self._prepare_process()

    def __repr__(self) -> str:
        return (
            f"EncoderDecoder(model={self.model_id!r}, {self.num_parameters / 1e6:.1f} M parameters, "
            f"device={str(self.device)!r}, dtype={str(self.dtype).removeprefix('torch.')!r})"
        )

    def _repr_html_(self) -> str:
        facts = {
            "model": f"{self.model_id} ({self.fingerprint[:12]}), {self.num_parameters / 1e6:.1f} M parameters",
            "latents": f"{self.latent_dim} numbers {self.frame_rate:.2f} times a second, from {self.sample_rate} Hz",
            "runs": f"on {self.device} in {str(self.dtype).removeprefix('torch.')}",
            "licence": self.checkpoint.license,
            "made": self.checkpoint.provenance,
        }
        return facts_html("EncoderDecoder", facts)
