"""Six weeks of several customers in one log, against the seeds; what must come of it was derived by hand.

Each `=>` row was reasoned out from the definitions in seeds/ before the log was first played; the reasoning stands
above the rows. Every decision there is must be told, and no other.
"""

from __future__ import annotations

import pytest

from schemas.identifiers import address_hash, contact_key
from streams.simulator import replay
from tests.stories.telling import Story, clock, play, read, rows, seeds, standing

SIX_WEEKS = """
Monday, 2 March. Customer c-9 likes text messages and allows marketing.

    03-02 09:00:00 c-9 crm profile_updated email=nine@example.com phone=+12025550109 preferred_channel=sms
    03-02 09:01:00 c-9 web consent_given purpose=marketing

Somebody unknown on device d-41 allows personalisation and reads about credit cards: the journey begins, silently.

    03-02 10:00:00 d-41 web consent_given purpose=personalisation
    03-02 10:00:05 d-41 web page_viewed page=/credit-cards

c-9 leaves a basket. Two hours of silence later the coupon goes out, by the preferred channel, and lives two days.
It is delivered; so the order that follows has nothing to take back.

    03-02 11:30:00 c-9 web basket_updated basket_id=b-1 value=35
    => 03-02 13:30:00 customer:c-9 sent send_coupon by sms to +12025550109:
       free-delivery-coupon basket=b-1 coupon=FREE-DELIVERY link=/basket until 03-04 13:30:00
    03-02 13:30:30 sms delivered send_coupon
    03-02 16:00:00 c-9 store order_placed basket_id=b-1

Wednesday. The unknown visitor is back: the second look at a card page turns the banner into the incentive, for 30 days.
The producer sends the same event again: a repeat changes nothing.

    03-04 18:30:00 d-41 web page_viewed page=/credit-cards/gold id=gold
    => 03-04 18:30:00 device:d-41 sent show_banner by web:
       banner=credit-card-incentive link=/credit-cards/apply until 04-03 18:30:00
    03-04 18:30:02 d-41 web page_viewed page=/credit-cards/gold id=gold

The long form: page 1 with an address, closed on page 2. The mail goes at once, to that address, asked for by the form
itself (no consent needed), and resumes page 2; a mail to resume is worth two days.

    03-04 18:31:00 d-41 web form_started form=credit-card
    03-04 18:35:00 d-41 web form_page_submitted form=credit-card page_number=1 email=visitor@example.com
    03-04 18:44:00 d-41 web form_left form=credit-card page_number=2
    => 03-04 18:44:00 device:d-41 sent send_reminder by email to visitor@example.com:
       resume-application link=/credit-cards/apply@2 until 03-06 18:44:00
    03-04 18:44:20 email delivered send_reminder

Thursday. The visitor follows the link and submits as customer c-7. What the device gathered is the customer's now, so
it is c-7's application that is finished: ads on the subject stop for 90 days, and the banner, still standing, goes.
The mail was delivered and cannot be taken back. The repeat of the submission changes nothing.

    03-05 07:12:00 d-41 web form_resumed form=credit-card page_number=2
    03-05 07:21:00 c-7+d-41 web form_submitted form=credit-card id=submitted
    => 03-05 07:21:00 customer:c-7 sent suppress_ads by ads: topic=credit-card until 06-03 07:21:00
    => 03-05 07:21:00 customer:c-7 withdrawn show_banner from web: journey credit-card-application ended: completed
    03-05 07:21:30 c-7+d-41 web form_submitted form=credit-card id=submitted

Approved on Friday: the app is proposed by push, c-7's preferred channel, for a week.

    03-05 07:22:00 c-7 crm profile_updated email=visitor@example.com push_token=token-7 preferred_channel=push
    03-05 07:23:00 c-7 web consent_given purpose=marketing
    03-06 09:00:00 c-7 crm application_approved product=credit-card
    => 03-06 09:00:00 customer:c-7 sent send_message by push to token-7:
       mobile-app-onboarding product=credit-card link=/app until 03-13 09:00:00
    03-06 09:00:05 push delivered send_message

Saturday. Another unknown visitor, d-90, goes straight to the form and falls silent after page 1: half an hour later the
mail goes out. It bounces for good, so the address is dead: when the visitor comes back on Sunday and falls silent
again, the second mail is refused.

    03-07 20:00:00 d-90 web form_started form=credit-card
    03-07 20:05:00 d-90 web form_page_submitted form=credit-card page_number=1 email=ninety@example.com
    => 03-07 20:35:00 device:d-90 sent send_reminder by email to ninety@example.com:
       resume-application link=/credit-cards/apply@2 until 03-09 20:35:00
    03-07 20:35:10 email bounced! send_reminder
    03-08 21:00:00 d-90 web form_resumed form=credit-card page_number=2
    => 03-08 21:30:00 device:d-90 refused send_reminder: channel says address-suppressed

Monday, 9 March. c-7 complains; the message that the activated card would bring is marketing, so it waits.

    03-09 10:00:00 c-7 phone complaint_opened case_id=k-1
    03-09 12:00:00 c-7 app card_activated
    => 03-09 12:00:00 customer:c-7 held send_message: hold says open-complaint k-1

Tuesday. c-12 leaves a basket just worth it (20), then asks by phone not to be contacted. That call breaks the silence,
so the coupon is due two hours after it, not after the basket; it is refused in spite of the consent.

    03-10 09:00:00 c-12 crm profile_updated email=twelve@example.com
    03-10 09:00:30 c-12 web consent_given purpose=marketing
    03-10 09:05:00 c-12 web basket_updated basket_id=b-3 value=20
    03-10 10:30:00 c-12 phone contact_forbidden
    => 03-10 12:30:00 customer:c-12 refused send_coupon: do-not-contact says forbidden

Wednesday. c-13 never allowed marketing: no app is proposed. With the consent that comes an hour later nothing is made
up for, but the next message goes, by e-mail (no preference; e-mail is the first of the kind). Ten seconds later the
consent is withdrawn, and with it the message that is still on its way.

    03-11 10:00:00 c-13 crm profile_updated email=thirteen@example.com
    03-11 10:01:00 c-13 crm application_approved product=credit-card
    => 03-11 10:01:00 customer:c-13 refused send_message: consent says never-given
    03-11 11:00:00 c-13 web consent_given purpose=marketing
    03-11 12:00:00 c-13 app card_activated
    => 03-11 12:00:00 customer:c-13 sent send_message by email to thirteen@example.com:
       card-benefits product=credit-card link=/card/benefits until 03-18 12:00:00
    03-11 12:00:10 c-13 web consent_withdrawn purpose=marketing
    => 03-11 12:00:10 customer:c-13 withdrawn send_message from email: consent-withdrawn

Thursday. c-7's complaint is settled: what waited since Monday goes now. Its week counts from Monday 12:00, when it was
proposed: waiting makes nothing newer.

    03-12 15:00:00 c-7 phone complaint_closed case_id=k-1
    => 03-12 15:00:00 customer:c-7 sent send_message by push to token-7:
       card-benefits product=credit-card link=/card/benefits until 03-16 12:00:00

Monday, 16 March. Device d-41 has a new owner: c-8 logs in on it. From now on the device's baskets are c-8's. c-7
consents to marketing too, and gets nothing. c-8's order comes 20 s after the coupon, while it is on its way: it is
taken back.

    03-16 19:00:00 c-8+d-41 web profile_updated email=eight@example.com
    03-16 19:00:30 c-8+d-41 web consent_given purpose=marketing
    03-17 08:00:00 d-41 web basket_updated basket_id=b-2 value=60
    => 03-17 10:00:00 customer:c-8 sent send_coupon by email to eight@example.com:
       free-delivery-coupon basket=b-2 coupon=FREE-DELIVERY link=/basket until 03-19 10:00:00
    03-17 10:00:20 c-8 store order_placed basket_id=b-2
    => 03-17 10:00:20 customer:c-8 withdrawn send_coupon from email: journey free-delivery-coupon ended: completed

Wednesday. The branch knows c-20 by e-mail, the app knows c-21 and a consent: they are one, to be called c-21. The
profile is that of the smaller id. Only the two together have both a consent and an address.

    03-18 10:00:00 c-20 crm profile_updated email=twenty@example.com
    03-18 10:05:00 c-21 app consent_given purpose=marketing
    03-18 11:00:00 c-20 crm customers_merged from=c-20 into=c-21
    03-18 20:00:00 d-41 web page_viewed page=/credit-cards
    03-19 09:00:00 c-21 crm application_approved product=credit-card
    => 03-19 09:00:00 customer:c-20 as c-21 sent send_message by email to twenty@example.com:
       mobile-app-onboarding product=credit-card link=/app until 03-26 09:00:00

Wednesday and Thursday evening, c-8 reads about cards on d-41. What the former owner allowed there is not c-8's word.

    03-19 20:00:00 d-41 web page_viewed page=/credit-cards/gold
    => 03-19 20:00:00 customer:c-8 refused show_banner: consent says never-given

Friday. c-12 may be contacted again. c-30 reads about cards on the shared tablet d-77, sees the incentive and logs out.
What happens on the tablet then is nobody's: the device begins a journey of its own, without any consent.

    03-20 10:00:00 c-12 phone contact_allowed
    03-20 14:00:00 c-30+d-77 web consent_given purpose=personalisation
    03-20 14:01:30 c-30+d-77 web page_viewed page=/credit-cards
    03-20 14:10:00 c-30+d-77 web page_viewed page=/credit-cards/gold
    => 03-20 14:10:00 customer:c-30 sent show_banner by web:
       banner=credit-card-incentive link=/credit-cards/apply until 04-19 14:10:00
    03-20 14:20:00 c-30+d-77 web logged_out
    03-20 15:00:00 d-77 web page_viewed page=/credit-cards
    03-21 15:00:00 d-77 web page_viewed page=/credit-cards/gold
    => 03-21 15:00:00 device:d-77 refused show_banner: consent says never-given

Sunday. c-30 logs in again, starting the form: of the two instances of the journey the one entered earlier stays,
c-30's. (A merge has no time of its own: it acts at the time that marks have brought, a millisecond before the event.)
Silence leaves the form; no address was given in it, so there is nobody to remind.

    03-22 09:00:00 c-30+d-77 web form_started form=credit-card
    => 03-22 08:59:59.999 customer:c-30 merged journey credit-card-application: merge says another-instance-stays
    => 03-22 09:30:00 customer:c-30 refused send_reminder: consent says no-address-in-request

Monday, 23 March. A basket of c-9 arrives two days late, older than the day a journey bears: it enters nothing, and
says so. One that is 90 minutes late does; its two hours count from its arrival, and again from the complaint at
13:00. The coupon is held by the complaint, and dies with the order; the settled complaint does not revive it.

    03-23 12:00:00 c-9 web basket_updated basket_id=b-9 value=80 late=2d
    => 03-23 12:00:00 customer:c-9 ignored journey free-delivery-coupon:
       stale says older-on-arrival-than-stale-after 172800000 ms
    03-23 12:30:00 c-9 web basket_updated basket_id=b-10 value=50 late=90m
    03-23 13:00:00 c-9 phone complaint_opened case_id=k-2
    => 03-23 15:00:00 customer:c-9 held send_coupon: hold says open-complaint k-2
    03-23 16:00:00 c-9 store order_placed basket_id=b-10
    => 03-23 16:00:00 customer:c-9 refused send_coupon: journey says instance-ended
    03-24 09:00:00 c-9 phone complaint_closed case_id=k-2

c-12's first coupon journey ended a week after the refusal, 17 March 12:30; 14 days later is 31 March 12:30. So the
basket of the 30th enters nothing, that of 1 April does.

    03-30 09:00:00 c-12 web basket_updated basket_id=b-4 value=40
    04-01 09:00:00 c-12 web basket_updated basket_id=b-5 value=40
    => 04-01 11:00:00 customer:c-12 sent send_coupon by email to twelve@example.com:
       free-delivery-coupon basket=b-5 coupon=FREE-DELIVERY link=/basket until 04-03 11:00:00

5 April: 14 days of silence after c-30 left the form (22 March 09:30) the journey ends, and its banner goes with it.

    => 04-05 09:30:00 customer:c-30 withdrawn show_banner from web:
       journey credit-card-application ended: after 1209600 s

Monday, 6 April. More than 30 days after the first application c-7 begins another, and falls silent: the reminder goes
to the address of this form, by e-mail, whatever the preferred channel is.

    04-06 10:00:00 c-7 web form_started form=credit-card
    04-06 10:10:00 c-7 web form_page_submitted form=credit-card page_number=1 email=seven@example.com
    => 04-06 10:40:00 customer:c-7 sent send_reminder by email to seven@example.com:
       resume-application link=/credit-cards/apply@2 until 04-08 10:40:00
"""
THE_END = "04-09 00:00:00"

WHERE_THEY_STAND = {
    "customer:c-7": {"credit-card-application": "abandoned", "onboarding": "active, ended"},
    "customer:c-8": {"credit-card-application": "returning", "free-delivery-coupon": "ordered, ended"},
    "customer:c-9": {"free-delivery-coupon": "ordered, ended"},
    "customer:c-12": {"free-delivery-coupon": "offered, ended"},
    "customer:c-13": {"onboarding": "active"},
    "customer:c-20": {"onboarding": "invited"},
    "customer:c-30": {"credit-card-application": "abandoned, ended"},
    "device:d-90": {"credit-card-application": "abandoned, ended"},
}


@pytest.mark.parametrize("partitions", [1, 4, 7])
def test_six_weeks_come_out_as_derived_by_hand(partitions: int) -> None:
    """Every decision is the derived one, with its action or withdrawal, and so is where each customer ends."""
    story = read(SIX_WEEKS)
    assert len(story.touchpoints) == 59
    simulator = play(story, THE_END, partitions)
    assert rows(simulator) == story.expected
    assert standing(simulator) == WHERE_THEY_STAND


def test_holders_and_dead_addresses_are_published() -> None:
    """Connectors learn who holds a device, who became an alias, and which addresses must not be used."""
    simulator = play(read(SIX_WEEKS), THE_END)
    holders = [
        (identifier, clock(holder.since), holder.customer) if holder is not None else (identifier,)
        for identifier, holder in simulator.published.identities
    ]
    assert holders == [
        ("device:d-41", "03-05 07:21:00", "c-7"),
        ("device:d-41", "03-16 19:00:00", "c-8"),
        ("customer:c-21", "03-18 11:00:00", "c-20"),
        ("device:d-77", "03-20 14:00:00", "c-30"),
        ("device:d-77",),
        ("device:d-77", "03-22 09:00:00", "c-30"),
    ]
    suppressed = [
        (address, clock(word.at), word.reason) if word is not None else (address,)
        for address, word in simulator.published.suppressions
    ]
    assert suppressed == [
        (address_hash("email", "ninety@example.com"), "03-07 20:35:10", "bounced"),
        (contact_key(address_hash("email", "twelve@example.com")), "03-10 10:30:00", "do-not-contact"),
        (contact_key(address_hash("email", "twelve@example.com")),),
    ]


def test_each_touchpoint_counts_once_and_each_identifier_has_its_newest_holder() -> None:
    """59 touchpoints with 2 repeats and one merge order leave 56 counted, and devices belong to whom they went last."""
    simulator = play(read(SIX_WEEKS), THE_END)
    profiles = {name: simulator.profile(name) for name in simulator.states()}
    owners = {name: profile for name, profile in profiles.items() if profile is not None and profile.id == name}
    assert sum(profile.total(None) for profile in owners.values()) == 56
    assert {name: sorted(profile.held) for name, profile in owners.items() if profile.held} == {
        "customer:c-8": ["device:d-41"],
        "customer:c-30": ["device:d-77"],
    }
    assert not any(profile.parked or profile.waiting for profile in owners.values())


def test_replaying_the_journal_gives_the_same_bytes() -> None:
    """The journal of the six weeks, read again in other batches, gives the same actions, decisions and states."""
    simulator = play(read(SIX_WEEKS), THE_END)
    journal = {index: list(enumerate(entries)) for index, entries in enumerate(simulator.journal)}
    for every in (1, 13, 10_000):
        published, states = replay(journal, simulator.count, seeds(), every)
        assert states == simulator.states()
        for kind in ("actions", "decisions", "withdrawals"):
            again, before = getattr(published, kind), getattr(simulator, kind)
            assert sorted(map(repr, again)) == sorted(map(repr, before))


def test_cut_anywhere_the_story_so_far_is_the_same() -> None:
    """A log cut after any touchpoint gives the rows up to there: nothing later changes what was decided before."""
    story = read(SIX_WEEKS)
    for length in range(1, len(story.given), 6):
        until = clock(story.given[length - 1][0])
        part = Story(story.given[:length])
        assert rows(play(part, until)) == [row for row in story.expected if row[:14] <= until]


SUBMITS_AND_SAYS_WHO = """
    03-02 10:00:00 d-50 web consent_given purpose=personalisation
    03-02 10:01:00 d-50 web page_viewed page=/credit-cards
    03-02 10:02:00 d-50 web page_viewed page=/credit-cards/gold
    => 03-02 10:02:00 device:d-50 sent show_banner by web:
       banner=credit-card-incentive link=/credit-cards/apply until 04-01 10:02:00
    03-02 10:03:00 d-50 web form_started form=credit-card
    03-02 10:08:00 d-50 web form_page_submitted form=credit-card page_number=1 email=fifty@example.com

The reminder is due at 10:38:00. One second before, the form is submitted, and only now the visitor has a name. What the
device's journey would still have done is over; what the browser says afterwards reaches a finished journey.

    03-02 10:37:59 c-50+d-50 web form_submitted form=credit-card
    => 03-02 10:37:59 customer:c-50 sent suppress_ads by ads: topic=credit-card until 05-31 10:37:59
    => 03-02 10:37:59 customer:c-50 withdrawn show_banner from web: journey credit-card-application ended: completed
    03-02 10:38:05 d-50 web form_left form=credit-card page_number=2
"""


def test_the_identifying_event_is_the_one_that_submits() -> None:
    """Ads on the subject stop, the banner goes, and no reminder comes, neither to the device nor to the customer."""
    story = read(SUBMITS_AND_SAYS_WHO)
    for partitions in (1, 2, 3, 4, 8):
        simulator = play(story, "04-10 00:00:00", partitions)
        assert rows(simulator) == story.expected
        assert standing(simulator) == {"customer:c-50": {"credit-card-application": "submitted, ended"}}


SUBMITS_A_SECOND_LATER = """
    03-02 10:03:00 d-50 web form_started form=credit-card
    03-02 10:08:00 d-50 web form_page_submitted form=credit-card page_number=1 email=fifty@example.com

What is due at the very moment of an event comes before it, though after the device's past became the customer's: so it
is c-50 who is reminded, and the mail, still on its way, is then taken back.

    03-02 10:38:00 c-50+d-50 web form_submitted form=credit-card
    => 03-02 10:38:00 customer:c-50 sent send_reminder by email to fifty@example.com:
       resume-application link=/credit-cards/apply@2 until 03-04 10:38:00
    => 03-02 10:38:00 customer:c-50 sent suppress_ads by ads: topic=credit-card until 05-31 10:38:00
    => 03-02 10:38:00 customer:c-50 withdrawn send_reminder from email: journey credit-card-application ended: completed
"""


def test_a_reminder_that_was_due_first_is_taken_back() -> None:
    """Submitting when the reminder has just gone out withdraws it while it is not delivered."""
    story = read(SUBMITS_A_SECOND_LATER)
    for partitions in (1, 2, 3, 4, 8):
        assert rows(play(story, "04-10 00:00:00", partitions)) == story.expected


CHANGES_HANDS = """
A visitor on d-60 turns out to be c-60, who allows marketing. The incentive stands on the device.

    03-02 10:00:00 d-60 web consent_given purpose=personalisation
    03-02 10:01:00 d-60 web page_viewed page=/credit-cards
    03-02 10:02:00 d-60 web page_viewed page=/credit-cards/gold
    => 03-02 10:02:00 device:d-60 sent show_banner by web:
       banner=credit-card-incentive link=/credit-cards/apply until 04-01 10:02:00
    03-02 11:00:00 c-60+d-60 web profile_updated email=sixty@example.com
    03-02 11:01:30 c-60+d-60 web consent_given purpose=marketing

A week later c-61 logs in on it: the banner, decided for c-60 alone, is removed. (An unlink has no time of its own: it
acts at the time that marks have brought, a millisecond before the event.)

    03-10 09:00:00 c-61+d-60 web profile_updated email=sixty-one@example.com
    => 03-10 08:59:59.999 customer:c-60 withdrawn show_banner from web: device changed hands

What the device does now, unnamed, is c-61's: a form with an address of its own, a basket. c-61 allowed no marketing;
c-60, who did, is not in question.

    03-10 09:05:00 d-60 web form_started form=credit-card
    03-10 09:06:00 d-60 web form_page_submitted form=credit-card page_number=1 email=other@example.com
    03-10 09:07:00 d-60 web form_left form=credit-card page_number=2
    => 03-10 09:07:00 customer:c-61 sent send_reminder by email to other@example.com:
       resume-application link=/credit-cards/apply@2 until 03-12 09:07:00
    03-10 10:00:00 d-60 web basket_updated basket_id=b-60 value=90
    => 03-10 12:00:00 customer:c-61 refused send_coupon: consent says never-given
"""


def test_a_device_changes_hands() -> None:
    """The former customer gets nothing of what happens on the device afterwards, and keeps what was gathered before."""
    story = read(CHANGES_HANDS)
    for partitions in (1, 2, 3, 4, 8):
        simulator = play(story, "03-20 00:00:00", partitions)
        assert rows(simulator) == story.expected
        assert standing(simulator) == {
            "customer:c-60": {"credit-card-application": "returning"},
            "customer:c-61": {"credit-card-application": "abandoned", "free-delivery-coupon": "offered, ended"},
        }
