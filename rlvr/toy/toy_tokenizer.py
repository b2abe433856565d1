"""A byte-level BPE tokenizer, trained on the text of the toy world.

Digits are single tokens, so arithmetic has one tokenization. Tags such as <think> become one token
each, but not special tokens: `skip_special_tokens` keeps them, and a model has to learn them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rlvr.toy.corpus import documents
from rlvr.toy.programs import program_task
from rlvr.toy.toy_requests import request_task

__all__ = ["EOS_TOKEN", "PAD_TOKEN", "make_tokenizer"]

EOS_TOKEN = "<|endoftext|>"
PAD_TOKEN = "<|pad|>"
VOCAB_SIZE, NUM_DOCUMENTS, NUM_REQUESTS = 640, 6000, 300

# A digit, a tag, a code fence, a comma or a word with the following blank, Chinese, any character.
_PIECES = r"\d| ?</?[a-z]+>|```python\n|\n```|[,;] |[A-Za-z]+ ?|[\u4e00-\u9fff]+|[\s\S]"


def make_tokenizer(*, seed: int = 0, vocab_size: int = VOCAB_SIZE) -> PreTrainedTokenizerFast:
    """Train on 6,000 documents of the corpus and 300 tasks of each other family (about a second).

    The families are included because a tokenizer's text is broader than its model's.
    """
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS_TOKEN, PAD_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS_TOKEN,
        pad_token=PAD_TOKEN,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def _texts(seed: int) -> Iterator[str]:
    yield from islice(documents(seed), NUM_DOCUMENTS)
    for index in range(NUM_REQUESTS):
        request = request_task(index, seed=seed)
        yield from (str(request.prompt), request.columns["reply"])
        yield str(program_task(index, seed=seed).prompt)
