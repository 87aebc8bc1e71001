"""The architecture of OpenAssistant's Pythia reward models, which transformers does not know.

A GPT-NeoX decoder and one linear layer on its pooled states.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    GPTNeoXConfig,
    GPTNeoXModel,
    GPTNeoXPreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from instructmining.errors import ModelError
from instructmining.models.reward_inputs import OASST_MODEL_TYPE

_POOLINGS = ("last", "mean")


class GPTNeoXRewardConfig(GPTNeoXConfig):  # type: ignore[misc]
    """Settings of a GPT-NeoX decoder and how its states are pooled.

    Parameters
    ----------
    pooling : {"last", "mean"}
        Whether the state of the last token goes into the head, or the mean of all.
    """

    model_type = OASST_MODEL_TYPE
    pooling: str = "last"


# Loading a tokenizer wants to know the architecture beside it. The caller's own stays.
if OASST_MODEL_TYPE not in CONFIG_MAPPING:
    AutoConfig.register(OASST_MODEL_TYPE, GPTNeoXRewardConfig)


class GPTNeoXRewardModel(GPTNeoXPreTrainedModel):  # type: ignore[misc]
    """A GPT-NeoX decoder with a head of one output, under the published names of its weights.

    Parameters
    ----------
    config : GPTNeoXRewardConfig
        Settings, as in ``config.json``.

    Raises
    ------
    ModelError
        If the settings name a pooling nobody knows.
    """

    config_class = GPTNeoXRewardConfig
    # Buffers that GPT-NeoX checkpoints of 2023 carry and that are computed today.
    _keys_to_ignore_on_load_unexpected = (
        r"attention\.(masked_)?bias$",
        r"rotary_emb\.inv_freq$",
    )

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.pooling not in _POOLINGS:
            raise ModelError(
                f"config.json: pooling {config.pooling!r} came, {' or '.join(_POOLINGS)} was "
                "wanted; use the file the model was published with"
            )
        self.gpt_neox = GPTNeoXModel(config)
        self.out_proj = torch.nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> SequenceClassifierOutput:
        """Return the reward of each sequence.

        Parameters
        ----------
        input_ids : Tensor of int64, shape (n, width)
            Sequences, padded on the right.
        attention_mask : Tensor of int64, shape (n, width)
            1 for tokens, 0 for padding.

        Returns
        -------
        SequenceClassifierOutput
            With `logits` of shape (n, 1).
        """
        hidden = self.gpt_neox(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        lengths = attention_mask.sum(dim=1)
        if self.config.pooling == "last":
            pooled = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        else:
            real = hidden.float().masked_fill(attention_mask[..., None] == 0, 0.0)
            pooled = real.sum(dim=1) / lengths[:, None]
        return SequenceClassifierOutput(logits=self.out_proj(pooled))
