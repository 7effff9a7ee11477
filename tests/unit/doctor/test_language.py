"""Which texts are said to be in another language than English, and which are not."""

import pytest

from prepal.demo.data import load_tickets
from prepal.doctor.language import foreign

FOREIGN = {
    "German": "Der Drucker geht nicht an, und ich habe es schon mit einem anderen Kabel versucht.",
    "French": "Je ne peux pas me connecter depuis hier, et le mot de passe est pourtant le bon.",
    "Spanish": "La factura de este mes no es la misma que la de mi contrato, y no sé por qué.",
    "Portuguese": "A encomenda não chegou e o prazo de entrega já passou há mais de uma semana.",
    "Italian": "Il pacco non è arrivato e non ho ricevuto una risposta per la mia domanda.",
    "Dutch": "De app werkt niet meer en ik heb het al een paar keer met een ander account geprobeerd.",
    "Polish": "Nie mogę się zalogować, a hasło jest na pewno dobre, bo to nie pierwszy raz.",
    "Swedish": "Det går inte att logga in och jag har inte fått något svar på min fråga om det.",
    "Turkish": "Bu ürün çok iyi ama kargo için bir hafta bekledim ve daha gelmedi.",
}
OTHER_LETTERS = [
    "Заказ не пришёл, хотя прошло уже две недели.",
    "注文した商品がまだ届いていません。",
    "لم يصل الطلب حتى الآن.",
    "Η παραγγελία δεν έφτασε ακόμα.",
    "주문한 상품이 아직 도착하지 않았습니다.",
]


@pytest.mark.parametrize("language", FOREIGN)
def test_a_language_is_told_by_its_small_words(language: str) -> None:
    assert f"commonest of {language}" in foreign([FOREIGN[language]] * 5)


@pytest.mark.parametrize("text", OTHER_LETTERS)
def test_other_letters_are_told(text: str) -> None:
    assert "letters are not Latin" in foreign([text, "OK"])


@pytest.mark.parametrize(
    "texts",
    [
        [ticket.text for ticket in load_tickets()[:300]],
        ["USB-C charger 65 W black", "Samsung phone case blue silicone"] * 20,
        ["65 W", "La Paz", FOREIGN["Polish"]],
        ["The die was cast in Paris", "He is a man of la Mancha"] * 20,
        ["12345", "!!!", ""],
        [],
        [f"The order is late. {FOREIGN['German']}"] + ["Where is the parcel that I have paid for?"] * 4,
    ],
)
def test_english_titles_and_what_has_no_words_are_not_called_foreign(texts: list[str]) -> None:
    assert foreign(texts) == ""
