# ruff: noqa: RUF001 - other scripts are meant
"""The share of words of a language in the reasoning: tables from text to number."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.shaping.language import LANGUAGES, grade_language, language_consistency
from rewards.shaping.words import sentences

# The same twenty thoughts in the seven languages that share the Latin script, and some Russian.
SENTENCES = {
    "en": """\
So that gives a total of twelve apples.
Wait, let me check this again.
We need to find the value of the unknown.
First, we add the two numbers.
Then we divide both sides by two.
Hmm, that is not right.
The answer is positive.
Let me think about it step by step.
Therefore, she has forty dollars left.
Okay, so the train leaves at noon.
Both sides are equal.
That means the triangle is a right triangle.
Now substitute this into the first equation.
But the problem says that each box holds six.
So the sum is even.
Alternatively, we can use the quadratic formula.
Not possible.
Next, simplify the expression.
This is a contradiction, since the number must be prime.
Is there another way?""",
    "fr": """\
Donc cela donne un total de douze pommes.
Attends, je vérifie encore une fois.
Nous devons trouver la valeur de l'inconnue.
D'abord, on additionne les deux nombres.
Ensuite on divise les deux membres par deux.
Hmm, ce n'est pas juste.
La réponse est positive.
Réfléchissons étape par étape.
Par conséquent, il lui reste quarante dollars.
Bon, le train part à midi.
Les deux membres sont égaux.
Cela veut dire que le triangle est rectangle.
Maintenant, remplaçons cela dans la première équation.
Mais l'énoncé dit que chaque boîte en contient six.
La somme est donc paire.
Sinon, on peut utiliser la formule quadratique.
Pas possible.
Ensuite, simplifions l'expression.
C'est une contradiction, car le nombre doit être premier.
Y a-t-il une autre méthode ?""",
    "de": """\
Das ergibt also insgesamt zwölf Äpfel.
Warte, ich prüfe das noch einmal.
Wir müssen den Wert der Unbekannten finden.
Zuerst addieren wir die beiden Zahlen.
Dann teilen wir beide Seiten durch zwei.
Hm, das stimmt nicht.
Die Antwort ist positiv.
Gehen wir Schritt für Schritt vor.
Also hat sie noch vierzig Dollar übrig.
Gut, der Zug fährt mittags ab.
Beide Seiten sind gleich.
Das heißt, das Dreieck ist rechtwinklig.
Nun setzen wir das in die erste Gleichung ein.
Aber in der Aufgabe steht, dass jede Kiste sechs enthält.
Die Summe ist also gerade.
Alternativ kann man die Mitternachtsformel verwenden.
Nicht möglich.
Als Nächstes vereinfachen wir den Ausdruck.
Das ist ein Widerspruch, weil die Zahl eine Primzahl sein muss.
Gibt es einen anderen Weg?""",
    "es": """\
Entonces eso da un total de doce manzanas.
Espera, voy a comprobarlo otra vez.
Tenemos que encontrar el valor de la incógnita.
Primero sumamos los dos números.
Luego dividimos ambos lados entre dos.
Hmm, eso no está bien.
La respuesta es positiva.
Pensemos paso a paso.
Por lo tanto, le quedan cuarenta dólares.
Bueno, el tren sale al mediodía.
Ambos lados son iguales.
Eso significa que el triángulo es rectángulo.
Ahora sustituimos esto en la primera ecuación.
Pero el problema dice que cada caja contiene seis.
Así que la suma es par.
También podemos usar la fórmula cuadrática.
No es posible.
A continuación, simplificamos la expresión.
Esto es una contradicción, porque el número debe ser primo.
¿Hay otra manera?""",
    "pt": """\
Então isso dá um total de doze maçãs.
Espera, vou verificar de novo.
Precisamos encontrar o valor da incógnita.
Primeiro, somamos os dois números.
Depois dividimos os dois lados por dois.
Hmm, isso não está certo.
A resposta é positiva.
Vamos pensar passo a passo.
Portanto, sobram quarenta dólares para ela.
Bom, o trem sai ao meio-dia.
Os dois lados são iguais.
Isso significa que o triângulo é retângulo.
Agora substituímos isso na primeira equação.
Mas o problema diz que cada caixa contém seis.
Logo, a soma é par.
Também podemos usar a fórmula quadrática.
Não é possível.
Em seguida, simplificamos a expressão.
Isso é uma contradição, pois o número deve ser primo.
Existe outra maneira?""",
    "it": """\
Quindi il totale è di dodici mele.
Aspetta, controllo di nuovo.
Dobbiamo trovare il valore dell'incognita.
Prima sommiamo i due numeri.
Poi dividiamo entrambi i membri per due.
Hmm, non è corretto.
La risposta è positiva.
Ragioniamo passo dopo passo.
Perciò le restano quaranta dollari.
Bene, il treno parte a mezzogiorno.
I due membri sono uguali.
Ciò significa che il triangolo è rettangolo.
Ora sostituiamo questo nella prima equazione.
Ma il problema dice che ogni scatola ne contiene sei.
Dunque la somma è pari.
In alternativa possiamo usare la formula quadratica.
Non è possibile.
Adesso semplifichiamo l'espressione.
Questa è una contraddizione, perché il numero deve essere primo.
C'è un altro modo?""",
    "vi": """\
Vậy tổng cộng là mười hai quả táo.
Khoan đã, để tôi kiểm tra lại.
Chúng ta cần tìm giá trị của ẩn số.
Trước hết, cộng hai số lại.
Sau đó chia cả hai vế cho hai.
Không đúng rồi.
Đáp án là số dương.
Hãy suy nghĩ từng bước một.
Do đó, cô ấy còn lại bốn mươi đô la.
Được rồi, tàu khởi hành lúc trưa.
Hai vế bằng nhau.
Nghĩa là tam giác này vuông.
Bây giờ thay vào phương trình thứ nhất.
Nhưng đề bài nói mỗi hộp có sáu quả.
Vậy tổng là số chẵn.
Ngoài ra, ta có thể dùng công thức nghiệm.
Không thể được.
Tiếp theo, rút gọn biểu thức.
Đây là mâu thuẫn, vì số đó phải là số nguyên tố.
Có cách nào khác không?""",
    "ru": """\
Сначала сложим два числа.
Давайте подумаем шаг за шагом.
Затем разделим обе части на два.
Значит, у неё осталось сорок долларов.
Невозможно.
Это противоречие, так как число должно быть простым.""",
}
SHORT = [(code, text) for code, texts in SENTENCES.items() for text in texts.splitlines()]
OTHERS = {
    "zh": "我们先把两个数相加。等等，再检查一遍。所以一共有12个苹果。",
    "zh-Hans": "我们先把两个数相加。等等，再检查一遍。",
    "zh-Hant": "我們先把兩個數相加。等等，再檢查一遍。",
    "ja": "まず二つの数を足します。もう一度確認しよう。リンゴは全部で12個です。",
    "ko": "먼저 두 수를 더합니다. 다시 확인해 보자. 사과는 모두 12개입니다.",
    "ru": "Сначала сложим два числа. Подожди, я проверю ещё раз. Ответ положительный.",
    "ar": "أولا نجمع العددين. انتظر، سأتحقق مرة أخرى. إذن الجواب موجب.",
    "hi": "पहले हम दोनों संख्याएँ जोड़ते हैं। रुको, मैं फिर से जाँचता हूँ।",
    "th": "ก่อนอื่นเราบวกตัวเลขสองตัว แล้วตรวจสอบอีกครั้ง มีแอปเปิ้ลทั้งหมด 12 ลูก",
}
WHOLE = {code: texts.replace("\n", " ") for code, texts in {**SENTENCES, **OTHERS}.items()}


def share(thought: str, language: str) -> float | None:
    return grade_language(f"<think>{thought}</think>42", language).value


@pytest.mark.parametrize(("language", "text"), SHORT)
def test_a_short_sentence_is_of_its_language(language: str, text: str) -> None:
    assert share(text, language) == 1.0


@pytest.mark.parametrize("language", WHOLE)
def test_a_thought_is_of_its_language_and_of_no_other(language: str) -> None:
    same = {"zh", "zh-Hans"} if language in ("zh", "zh-Hans") else {language}
    same |= {"zh"} if language == "zh-Hant" else set()
    for code in LANGUAGES:
        value = share(WHOLE[language], code)
        assert value is not None
        assert value == 1.0 if code in same else value < 0.06, (code, value)


WORDS = [
    ("", []),
    ("x = 3, y + 2 = n", []),
    ("Let's see", ["Let", "see"]),
    ("we add 3 and 4.5", ["we", "add", "and"]),
    ("na\u00efve re\u0301ponse", ["na\u00efve", "r\u00e9ponse"]),
    ("x\u0304 and v\u20d7", ["and"]),
    ("中文字", ["中", "文", "字"]),
    ("リンゴは", ["リンゴは"]),
    ("사과는 모두 12개", ["사과는", "모두", "개"]),
    ("है में", ["है", "में"]),
    ("ทั้งหมด 12 ลูก", ["ทั้งหมด", "ลูก"]),
    ("用Python写", ["用", "Python", "写"]),
    ("தமிழ் বাংলা", ["தமிழ்", "বাংলা"]),
    ("ｆｕｌｌ", ["ｆｕｌｌ"]),
    (r"so $x^2 + \text{ab}$ it is", ["so", "it", "is"]),
    (r"so $$ab$$ it", ["so", "it"]),
    (r"so \(ab\) or \[cd\] it", ["so", "or", "it"]),
    (r"so \frac{ab}{cd} it", ["so", "it"]),
    (r"so \sqrt[ab]{cd} it", ["so", "it"]),
    (r"so \text{a {nested} one} it", ["so", "it"]),
    (r"so \boxed{unclosed it", ["so", "unclosed", "it"]),
    (r"so \(unclosed it", ["so", "unclosed", "it"]),
    ("it costs $5 and then $6 more", ["it", "costs", "and", "then", "more"]),
    ("5 $ or 6 $ more", ["or", "more"]),
    ("so ```python\nprint(ab)\n``` it", ["so", "it"]),
    ("so ```python\nprint(ab)", ["so"]),
    ("so `print(ab)` it", ["so", "it"]),
    ("see https://example.com/page?q=ab#top now", ["see", "now"]),
    ("<b>so</b> <answer>it</answer> <|im_end|>", ["so", "it"]),
    ("a <b and cd> e", ["and", "cd"]),
    ("𝑎𝑏𝑐 ℝℕ ⅣⅤ ①② ½", []),
    ("!?。，… — 12 १२", []),
    ("h\u200be\u200bllo", ["hello"]),
    ("\x00\ud800\udfff", []),
]


@pytest.mark.parametrize(("text", "words"), WORDS)
def test_what_counts_as_a_word(text: str, words: list[str]) -> None:
    assert [word.text for sentence in sentences(text) for word in sentence] == words


SHARES = [
    # technical terms and names count as what their script says
    ("用Python写", "zh", 2 / 3),
    ("设Alice有3个", "zh", 3 / 4),
    ("So 用 is used", "en", 3 / 4),
    # Kanji in a sentence with Kana are Japanese, and then not Chinese
    ("合計を計算", "ja", 1.0),
    ("合計を計算", "zh", 0.0),
    ("合計", "ja", 0.0),
    ("合計。合計を", "ja", 3 / 5),
    ("合計。合計を", "zh", 2 / 5),
    # two spellings of Chinese
    ("汉字", "zh-Hans", 1.0),
    ("汉字", "zh-Hant", 0.0),
    ("漢字", "zh-Hant", 1.0),
    ("漢字", "zh-Hans", 0.0),
    ("山水", "zh-Hans", 1.0),
    ("山水", "zh-Hant", 1.0),
    ("汉字漢字", "zh", 1.0),
    # mixed thoughts
    ("First we add them. 然后我们检查一遍。", "en", 4 / 12),
    ("First we add the two numbers. Danach teilen wir beide Seiten durch zwei.", "en", 6 / 13),
    ("First we add the two numbers. Danach teilen wir beide Seiten durch zwei.", "de", 7 / 13),
    # the same script, and still another language
    ("Dus dat geeft in totaal twaalf appels, maar wacht even.", "de", 0.0),
    ("Отже, всього дванадцять яблук, тому відповідь додатна.", "ru", 0.0),
    ("مجموع سیب‌ها دوازده تا است، پس باید دوباره حساب کنیم.", "ar", 0.0),
    # nothing to read
    ("", "en", 0.0),
    ("x + 3 = 5", "en", 0.0),
    (r"$$\text{all in a formula}$$", "en", 0.0),
]


@pytest.mark.parametrize(("thought", "language", "value"), SHARES)
def test_the_share_of_words(thought: str, language: str, value: float) -> None:
    assert share(thought, language) == pytest.approx(value)


@pytest.mark.parametrize(
    ("completion", "think_prefilled", "value", "outcome"),
    [
        ("<think>so it is</think>也许", False, 1.0, "correct"),
        ("<think>so it 是</think>", False, 2 / 3, "wrong"),
        ("<think>so</think> 也 <think>it</think>", False, 2 / 3, "wrong"),
        ("也 <think>so it is</think>", False, 1.0, "correct"),
        ("so it is</think>也许", True, 1.0, "correct"),
        ("so it is</think>也许", False, 1.0, "correct"),
        ("so it is", False, 0.0, "no_answer"),
        ("", False, 0.0, "no_answer"),
        ("<think>x = 1</think>so it is", False, 0.0, "no_answer"),
        ("so it is", True, 0.0, "truncated"),
        ("<think>so it is", False, 0.0, "truncated"),
        ("<think>so</think><think>it is", False, 0.0, "truncated"),
        ([{"role": "assistant", "content": "也", "reasoning_content": "so"}], True, 1.0, "correct"),
        ([{"role": "assistant", "content": "also so", "thinking": "也"}], False, 0.0, "wrong"),
        ([{"role": "assistant", "content": "<think>so</think>也"}], False, 1.0, "correct"),
        ([], False, 0.0, "no_answer"),
    ],
)
def test_only_the_thought_is_read(
    completion: object, think_prefilled: bool, value: float, outcome: str
) -> None:
    grade = grade_language(completion, "en", think_prefilled=think_prefilled)
    assert (grade.value, grade.outcome) == (pytest.approx(value), outcome)


def test_languages_come_as_a_column_or_as_one() -> None:
    completions = ["我们</think>1", "so it is</think>1"]
    prompts = ["1? <think>"] * 2
    assert language_consistency(completions, ["zh", "en"], prompts=prompts, answer=["1"] * 2) == [
        1.0,
        1.0,
    ]
    assert language_consistency(completions, "zh", think_prefilled=True) == [1.0, 0.0]
    with pytest.raises(ValueError, match="needs a list of 2 entries, not 1"):
        language_consistency(completions, ["zh"])


@pytest.mark.parametrize("code", ["", "xx", "EN", "english", "zh_CN", None, 1])
def test_an_unknown_code_is_refused_with_what_is_allowed(code: object) -> None:
    with pytest.raises(
        ValueError, match=r"language is .*; allowed: ar, de, en, es, fr, hi, it, ja"
    ):
        language_consistency(["<think>so</think>"], [code])  # type: ignore[list-item]


TOKENS = st.sampled_from(
    [
        *("<think>", "</think>", "$", "$$", "`", "```", r"\(", r"\)", r"\frac{", "}", "\\", "<b>"),
        *("so it is", "und dann", "我们", "です", "사과", "Сумма", "है", "www.", ".", "\n\n", " "),
        *("\u0301", "\u200d", "\ud800", "x"),
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(TOKENS, max_size=20).map("".join))


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(LANGUAGES), st.booleans())
def test_any_text_earns_between_zero_and_one(
    text: str, language: str, think_prefilled: bool
) -> None:
    for completion in (text, f"<think>{text}</think>"):
        grade = grade_language(completion, language, think_prefilled=think_prefilled)
        assert grade.value is not None
        assert 0.0 <= grade.value <= 1.0
        assert grade == grade_language(completion, language, think_prefilled=think_prefilled)


@given(st.integers(1, 30), st.integers(1, 30))
def test_more_words_of_the_language_earn_more(num_own: int, num_other: int) -> None:
    values = [
        share("我" * own + " слово" * num_other + "。", "zh") for own in (num_own, num_own + 1)
    ]
    assert values == [num_own / (num_own + num_other), (num_own + 1) / (num_own + 1 + num_other)]


HOSTILE = [
    "\\a{" * 33_000, "$" * 100_000, "$a " * 33_000, "`" * 100_000, "a`\n\n" * 25_000,
    "``a`\n\n" * 15_000, "\\(" * 50_000, "\\[" * 50_000, "<a b" * 25_000, "<a " * 33_000 + "=",
    "<|" * 50_000, "a" + "\u0300\u0327" * 50_000, "a\u0300\u0327" * 33_000, "www." * 25_000,
    "\\frac{" * 10_000 + "}" * 10_000, "ab " * 33_000, "\u4e00" * 100_000, "\x00" * 100_000,
    "\ud800" * 100_000, "".join(map(chr, range(0x20, 0x3000))),
]  # fmt: skip


@pytest.mark.parametrize("thought", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_read_in_linear_time(thought: str) -> None:
    started = time.process_time()
    assert share(thought, "en") is not None
    assert time.process_time() - started < 2.0
