"""A language model behind any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from instructmining.errors import ExperimentError
from instructmining.evaluation.judges.base import Judgement, Question
from instructmining.evaluation.judges.prompt import VERSION, messages, read_verdict

#: The server is busy or ailing, and may answer later.
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
#: A server that asks for more patience than this gets no more of it.
_LONGEST_WAIT = 60.0
#: Characters of a token, for an estimate of cost: about right for English.
_CHARACTERS = 4


@dataclass(frozen=True)
class Server:
    """Where a judge answers, and how it is asked.

    Parameters
    ----------
    url : str
        Base of the interface, such as ``http://127.0.0.1:8000/v1``.
    model : str
        What the server calls the model.
    key : str, optional
        Sent as a bearer token; never written down.
    max_tokens : int
        Of a reply.
    temperature : float
        0 by default: the same question, the same reply, as far as the server keeps to it.
    concurrency : int
        Requests under way at one time.
    timeout : float
        Seconds a reply is waited for.
    attempts : int
        How often one question is asked before the run ends.
    wait : float
        Seconds before the second attempt; doubled before each further one.
    """

    url: str
    model: str
    key: str | None = None
    max_tokens: int = 256
    temperature: float = 0.0
    concurrency: int = 8
    timeout: float = 120.0
    attempts: int = 6
    wait: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an address nothing can be asked at.

        Raises
        ------
        ExperimentError
            If it is no HTTP address, or nothing may be asked.
        """
        if not self.url.startswith(("http://", "https://")):
            raise ExperimentError(
                f"judge url {self.url!r}: wanted an HTTP address, as http://127.0.0.1:8000/v1"
            )
        if min(self.concurrency, self.attempts, self.max_tokens) < 1:
            raise ExperimentError(
                f"{self.concurrency} requests at a time, {self.attempts} attempts and "
                f"{self.max_tokens} tokens came for the judge; give at least 1 of each"
            )


class ServerJudge:
    """Asks a language model which of two replies serves better.

    Parameters
    ----------
    server : Server
        Where and how.
    """

    sees_order = True

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def definition(self) -> dict[str, str | int | float]:
        """Model, wording and decoding; where the server stands does not matter."""
        return {
            "judge": self.server.model,
            "prompt": VERSION,
            "max_tokens": self.server.max_tokens,
            "temperature": self.server.temperature,
        }

    def judge(self, questions: Sequence[Question], keep: Callable[[int, Judgement], None]) -> None:
        """Ask the server, several questions at a time.

        Raises
        ------
        ExperimentError
            If it refuses a question, or does not answer after all attempts; what was judged
            before is kept.
        """
        pool = ThreadPoolExecutor(self.server.concurrency)
        places = {pool.submit(self._ask, one): place for place, one in enumerate(questions)}
        try:
            for done in as_completed(list(places)):
                place = places.pop(done)
                keep(place, done.result())
        finally:
            # Questions that wait are not asked any more; replies under way were paid for.
            pool.shutdown(cancel_futures=True)
            for done, place in places.items():
                if not done.cancelled() and done.exception() is None:
                    keep(place, done.result())

    def expected_tokens(self, questions: Sequence[Question]) -> tuple[int, int]:
        """Expect the tokens sent and received, from the length of the texts; about."""
        sent = sum(len(part["content"]) for one in questions for part in messages(one))
        return sent // _CHARACTERS, len(questions) * self.server.max_tokens

    def _ask(self, question: Question) -> Judgement:
        wait = self.server.wait
        for attempt in range(1, self.server.attempts + 1):
            try:
                reply = self._reply(question)
            except _Passing as error:
                if attempt == self.server.attempts:
                    raise ExperimentError(
                        f"judge {self.server.model} at {self.server.url} gave no reply in "
                        f"{attempt} attempts ({error}); what was judged is kept, run it again to "
                        "go on"
                    ) from error
                time.sleep(min(error.after if error.after is not None else wait, _LONGEST_WAIT))
                wait *= 2
            else:
                return Judgement(read_verdict(reply), reply)
        raise AssertionError("the last attempt returns or raises")

    def _reply(self, question: Question) -> str:
        server = self.server
        body = {
            "model": server.model,
            "messages": messages(question),
            "max_tokens": server.max_tokens,
            "temperature": server.temperature,
        }
        headers = {"Content-Type": "application/json"}
        if server.key:
            headers["Authorization"] = f"Bearer {server.key}"
        # Lone surrogates, which models may write, have no UTF-8 form; ASCII escapes have.
        data = json.dumps(body, ensure_ascii=True).encode("ascii")
        url = f"{server.url.rstrip('/')}/chat/completions"
        try:
            with urlopen(Request(url, data, headers), timeout=server.timeout) as response:
                return _text_of(json.loads(response.read()))
        except HTTPError as error:
            raise self._refused(error) from error
        except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
            raise _Passing(str(getattr(error, "reason", error)) or type(error).__name__) from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _Passing("what came is no chat completion") from error

    def _refused(self, error: HTTPError) -> Exception:
        said = error.read(500).decode("utf-8", "replace").strip()
        if error.code in _PASSING:
            return _Passing(f"HTTP {error.code}", _seconds(error.headers.get("Retry-After")))
        return ExperimentError(
            f"judge {self.server.model} at {self.server.url} refused a question (HTTP "
            f"{error.code}: {' '.join(said.split())[:200]}); check address, model and key"
        )


class _Passing(Exception):
    """A failure that may pass."""

    def __init__(self, said: str, after: float | None = None) -> None:
        super().__init__(said)
        self.after = after


def _text_of(answer: Any) -> str:
    text = answer["choices"][0]["message"]["content"]
    if not isinstance(text, str):
        raise TypeError("no text")
    return text


def _seconds(header: str | None) -> float | None:
    """Read ``Retry-After`` where it names seconds; a date is left to the usual wait."""
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:
        return None
