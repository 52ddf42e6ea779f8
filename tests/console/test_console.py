"""The console in a real browser, in front of a real gateway and server."""

from __future__ import annotations

import re

import httpx
import pytest
import yaml

playwright = pytest.importorskip("playwright.sync_api", reason="there is no Playwright")
from playwright.sync_api import expect  # noqa: E402  it may not be there

from mqd.core.access import ALLOWED, Role  # noqa: E402
from mqwire.roles import ROLE_ALIASES  # noqa: E402
from support.console import Console  # noqa: E402
from support.server import PASSWORD, running_server  # noqa: E402
from support.web import running_gateway  # noqa: E402

TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 88, in step
    loss = model(batch)
RuntimeError: out of memory"""


def button(page, name, **options):
    return page.get_by_role("button", name=name, **options)


def tab(page, name):
    return page.get_by_role("navigation", name="Parts of the queue").get_by_role("link", name=name)


def pushed(web, queue, *bodies):
    messages = [{"body": body} for body in bodies]
    assert web.post(f"/v1/queues/{queue}/messages", json={"messages": messages}).is_success


def leased(web, queue, count=1):
    reply = web.post(f"/v1/queues/{queue}/pull", params={"lease": 60, "max": count})
    return reply.json()["lease"]["id"]


def create(page, name):
    button(page, "Create a queue").click()
    dialog = page.get_by_role("dialog", name="Create a queue")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Attempts", exact=True).fill("1")
    button(dialog, "Create", exact=True).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def delete(page, name):
    button(page, "Delete …").click()
    dialog = page.get_by_role("dialog", name="Delete a queue")
    expect(button(dialog, "Delete it")).to_be_disabled()
    dialog.get_by_label(f"Type {name} to go on").fill(name)
    button(dialog, "Delete it").click()


# Coming in


def test_a_wrong_password_is_refused_in_words(console):
    console.expected = ("401",)
    console.page.goto(console.url)
    console.sign_in("admin", "wrong")
    expect(console.page.get_by_role("alert")).to_contain_text("AUTH_FAILED")
    expect(console.page.get_by_role("textbox", name="User")).to_have_value("admin")


@pytest.mark.parametrize(
    ("user", "word", "tabs", "may_create"),
    [
        ("admin", "administrator", ["Push", "Pull"], True),
        ("agent", "agent", ["Push", "Pull"], False),
        ("user", "user", [], False),
    ],
)
def test_each_role_is_offered_what_it_may_do(console, queue, user, word, tabs, may_create):
    page = console.open(user)
    expect(page.get_by_role("banner")).to_contain_text(f"Signed in as {user} ({word}), until")
    expect(page.get_by_role("link", name=queue)).to_be_visible()
    for name in ("Create a queue", f"Delete the queue {queue}"):
        expect(button(page, name)).to_have_count(int(may_create))
    page.get_by_role("link", name=queue).click()
    expect(tab(page, "Ready")).to_be_visible()
    for name in ("Push", "Pull"):
        expect(tab(page, name)).to_have_count(int(name in tabs))
    for name in ("Pause", "Purge …", "Delete …"):
        expect(button(page, name)).to_have_count(int(may_create))
    tab(page, "Dead letters").click()
    expect(page.get_by_text("No dead letters here.")).to_be_visible()
    expect(button(page, "Redrive all")).to_have_count(0)


def test_what_is_offered_is_what_the_server_allows(console):
    console.page.goto(console.url)
    verbs = sorted(set().union(*ALLOWED.values()))
    words = {**{role.word: role for role in Role}, **{a: Role(w) for a, w in ROLE_ALIASES.items()}}
    ask = """async ([words, verbs]) => {
        const { allows } = await import("/console/roles.js");
        return words.map(word => verbs.filter(verb => allows(word, verb)));
    }"""
    offered = console.page.evaluate(ask, [list(words), verbs])
    assert offered == [sorted(ALLOWED[role]) for role in words.values()]


def test_a_token_lets_in_and_is_kept_nowhere(console, gateway, queue):
    page = console.page
    page.goto(console.url)
    page.get_by_role("radio", name="Token").check()
    page.get_by_role("textbox", name="Token").fill(gateway.token("agent"))
    button(page, "Sign in").click()
    expect(page.get_by_role("link", name=queue)).to_be_visible()
    kept = "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])"
    assert gateway.token("agent") not in page.evaluate(kept)
    assert console.context.cookies() == []
    button(page, "Sign out").click()
    expect(page.get_by_text("You have signed out.")).to_be_visible()
    expect(page.get_by_text(queue)).to_have_count(0)


def test_what_a_role_may_not_do_is_refused_in_words(console, queue):
    """As if the page were wrong about the role: it offers what mqd refuses."""
    console.expected = ("403",)

    def lie(route):
        reply = route.fetch()
        route.fulfill(response=reply, json={**reply.json(), "role": "admin"})

    console.page.route("**/v1/me", lie)
    page = console.open("user", f"#/queues/{queue}")
    button(page, "Pause").click()
    expect(page.get_by_text("Pause: your role may not do this.")).to_be_visible()


# A queue's life


def test_the_life_of_a_queue_and_of_a_message_in_it(console, web):
    name = "story"
    console.expected = ("404",)  # the page may ask once more before it hears of the deletion
    page = console.open()
    create(page, name)
    assert web.get(f"/v1/queues/{name}").json()["options"]["max_attempts"] == 1

    expect(console.figure("Ready")).to_contain_text("0")
    pushed(web, name, {"lr": 0.5}, {"lr": 0.25})  # from outside
    expect(console.figure("Ready")).to_contain_text("2")
    expect(page.get_by_text('{"lr":0.25}')).to_be_visible()

    tab(page, "Push").click()
    page.get_by_label("Body").fill('{"seed": 123456789012345678901234567890}')
    button(page, "Push").click()
    expect(page.get_by_text("1 message pushed, synced:")).to_be_visible()
    assert "123456789012345678901234567890" in web.get(f"/v1/queues/{name}/messages").text

    tab(page, "Pull").click()
    page.get_by_label("Messages", exact=True).fill("2")
    button(page, "Pull").click()
    expect(page.get_by_text("2 messages under a lease")).to_be_visible()
    expect(console.figure("Leased")).to_contain_text("2")
    page.get_by_label("Reason").fill(TRACEBACK)
    button(page, "Failed (nack)").click()
    expect(page.get_by_text("2 messages came back as failed.")).to_be_visible()

    tab(page, "Dead letters").click()
    expect(page.get_by_text("RuntimeError: out of memory")).to_have_count(2)
    button(page, "Show message 1").click()
    expect(page.get_by_label("What its worker said")).to_have_text(TRACEBACK)
    page.get_by_role("link", name="#1").click()
    expect(page.get_by_role("heading", name="#1")).to_contain_text("dead")
    expect(page.get_by_label("What its worker said")).to_have_text(TRACEBACK)
    expect(page.get_by_label("Body", exact=True)).to_contain_text('"lr": 0.5')
    button(page, "Redrive it").click()
    expect(page.get_by_role("heading", name="#1")).to_contain_text("ready")

    page.get_by_role("navigation", name="Where this is").get_by_role("link", name=name).click()
    tab(page, "Dead letters").click()
    page.get_by_role("checkbox", name="Choose message 2").check()
    button(page, "Redrive the chosen (1)").click()
    expect(page.get_by_text("No dead letters here.")).to_be_visible()
    expect(console.figure("Ready")).to_contain_text("3")

    delete(page, name)
    expect(page.get_by_text("story is deleted, with 3 messages.")).to_be_visible()
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    assert web.get(f"/v1/queues/{name}").status_code == 404


def test_depth_rates_and_age_are_plotted(console, web, queue):
    page = console.open(place=f"#/queues/{queue}")
    for name in ("Messages", "Messages a second", "Age"):
        expect(page.get_by_role("img", name=re.compile(f"^{name} over the last"))).to_be_visible()
    pushed(web, queue, 1, 2)
    page.get_by_role("img", name="Messages over the last minutes; now ready 2").wait_for()
    page.get_by_role("img", name=re.compile(r"^Age .*; now oldest ready [1-9]\d* s$")).wait_for()
    console.go("queues")
    row = page.get_by_role("row", name=queue)
    for words in (
        rf"^messages in {queue} over the last minutes: now 2, at most 2$",
        rf"^messages a second into {queue} over the last minutes: now ",
        rf"^messages a second out of {queue} over the last minutes: now 0, at most 0$",
        rf"^age of the oldest ready message in {queue} over the last minutes: now [1-9]\d* s",
    ):
        expect(row.get_by_role("img", name=re.compile(words))).to_be_visible()


def test_a_queue_is_paused_resumed_and_purged(console, web, queue):
    pushed(web, queue, 1, 2)
    page = console.open(place=f"#/queues/{queue}")
    button(page, "Pause").click()
    expect(page.get_by_role("heading", name=queue)).to_contain_text("paused")
    button(page, "Resume").click()
    expect(page.get_by_role("heading", name=queue)).not_to_contain_text("paused")
    button(page, "Purge …").click()
    page.get_by_label(f"Type {queue} to go on").fill(queue)
    button(page, "Remove them").click()
    expect(page.get_by_text(f"2 messages removed from {queue}.")).to_be_visible()
    expect(console.figure("Ready")).to_contain_text("0")


def test_holders_are_shown_and_own_leases_settled(console, web, queue):
    pushed(web, queue, "a")
    leased(web, queue)
    page = console.open(place=f"#/queues/{queue}/leased")
    row = page.get_by_role("row", name=re.compile("admin~http"))
    expect(row).to_contain_text("mqweb")
    expect(row).to_contain_text(re.compile(r"5\d s"))
    button(row, "Settle …").click()
    button(page, "Done (ack)").click()
    expect(page.get_by_text("1 message done.")).to_be_visible()
    expect(page.get_by_text("Nobody holds a lease.")).to_be_visible()


def test_events_come_as_they_happen_and_messages_are_followed(console, web, queue):
    page = console.open(place=f"#/queues/{queue}/events")
    expect(page.get_by_text("Listening: events are listed here as they come.")).to_be_visible()
    pushed(web, queue, "a")
    feed = page.get_by_role("list", name="Events, the latest first")
    expect(feed).to_contain_text("pushed")
    lease = leased(web, queue)
    expect(feed).to_contain_text("leased")
    console.go("queues", queue, "messages", "1")
    expect(page.get_by_role("heading", name="#1")).to_contain_text("leased")
    web.post(f"/v1/leases/{lease}/nack", json={"hand_back": True, "reason": "walltime"})
    expect(page.get_by_role("heading", name="#1")).to_contain_text("ready")
    expect(page.get_by_text("walltime")).to_be_visible()
    button(page, "Cancel it …").click()
    button(page, "Cancel the message").click()
    expect(page.get_by_text("Message 1 is cancelled.")).to_be_visible()


def test_a_message_deep_in_a_queue_is_shown_whole(console, web, queue):
    pushed(web, queue, *(f"number {number}" for number in range(1300)))
    page = console.open(place=f"#/queues/{queue}/messages/1234")
    expect(console.figure("Before it")).to_have_text("1,233")
    expect(page.get_by_label("Body", exact=True)).to_contain_text("number 1233")


def test_what_is_stuck_is_told_first(console, web):
    web.post("/v1/queues", json={"queue": "stuck", "dead_letter": "stuck.dead"})
    pushed(web, "stuck", 1, 2)
    web.post(f"/v1/leases/{leased(web, 'stuck')}/reject", json={"reason": "no"})
    web.post("/v1/queues/stuck/pause")
    page = console.open()
    told = page.get_by_role("region", name=re.compile("Needs attention"))
    expect(told).to_contain_text("1 dead letter of stuck")
    expect(told).to_contain_text("paused 1 message waits")
    page.get_by_role("searchbox", name="Filter by name").fill("STUCK.")
    expect(page.get_by_role("table", name="Queues").get_by_role("rowheader")).to_have_count(1)
    page.get_by_role("searchbox", name="Filter by name").fill("nowhere")
    expect(page.get_by_text("No queue has such a name.")).to_be_visible()


def died(web, name, count=1):
    """Make a queue whose messages die into another one; return that one's name."""
    options = {"queue": name, "dead_letter": f"{name}.dead", "max_attempts": 1}
    assert web.post("/v1/queues", json=options).is_success
    pushed(web, name, *range(count))
    web.post(f"/v1/leases/{leased(web, name, count)}/nack", json={"reason": TRACEBACK})
    return f"{name}.dead"


def test_a_dead_letter_tells_whose_it_is_and_how_it_died_and_is_redriven(console, web):
    letters = died(web, "died")
    page = console.open(place=f"#/queues/{letters}/messages/1")
    expect(page.get_by_role("heading", name="#1")).to_contain_text("dead letter")
    expect(page.locator(".means")).to_contain_text(
        "It is a dead letter of died, where it was #1. "
        "It died there: failed (RuntimeError: out of memory)."
    )
    expect(console.figure("Failures")).to_have_text("1 in died")
    button(page, "Redrive it").click()
    expect(page.get_by_text("It is tried again.")).to_be_visible()
    assert web.get("/v1/queues/died").json()["ready"] == 1


def test_all_are_redriven_only_after_it_was_said_how_many_and_where_to(console, web):
    letters = died(web, "many", 3)
    page = console.open(place=f"#/queues/{letters}/dead")
    expect(console.figure("Dead")).to_have_text("3 dead letters")
    button(page, "Redrive all …").click()
    dialog = page.get_by_role("dialog", name="Redrive all")
    expect(dialog).to_contain_text("3 dead letters go back to where they came from: many.")
    assert web.get(f"/v1/queues/{letters}").json()["ready"] == 3
    button(dialog, "Redrive them").click()
    expect(page.get_by_text("3 messages tried again.")).to_be_visible()
    assert web.get("/v1/queues/many").json()["ready"] == 3


# The server


def test_the_server_page_and_a_snapshot(console):
    page = console.open(place="#/server")
    expect(page.get_by_role("heading", name="Storage")).to_be_visible()
    expect(page.get_by_text("sound")).to_be_visible()
    button(page, "Make one now").click()
    expect(page.get_by_text(re.compile(r"Snapshot \d+: \d+ records"))).to_be_visible()
    console.go("log")
    page.get_by_label("Queue").fill("jobs")
    page.get_by_label("Verb").select_option("PUSH")
    expect(page.get_by_label("Command", exact=True)).to_have_text(
        re.compile(r"^mqctl log /\S+/frames --queue jobs --verb PUSH --follow$")
    )


def test_frames_come_as_they_are_logged_and_are_filtered(console, web, queue):
    page = console.open(place="#/server")
    tail = page.get_by_role("list", name="Frames, the latest first")
    rows = tail.get_by_role("listitem")
    expect(tail).to_be_visible()
    page.get_by_role("link", name="Its newest frames").click()
    expect(page.get_by_role("region", name="Frames", exact=True)).to_be_focused()
    expect(page.get_by_role("region", name="Frames", exact=True)).to_be_in_viewport()
    page.get_by_label("Queue", exact=True).fill(queue)
    pushed(web, queue, "hello")
    expect(rows.filter(has_text="hello")).to_have_count(1)
    expect(rows.first).to_contain_text("reply to PUSH")
    console.expected = ("409",)
    web.post("/v1/queues", json={"queue": queue})
    web.get(f"/v1/queues/{queue}")  # this only looks
    page.get_by_label("Kind").select_option("refusals")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("QUEUE_EXISTS")
    page.get_by_label("Kind").select_option("requests")
    page.get_by_label("Verb").select_option("PUSH")
    page.get_by_label("User", exact=True).fill("admin")
    expect(rows).to_have_count(1)
    button(rows, re.compile("Show the request of")).click()
    expect(page.get_by_label("Frame", exact=True)).to_contain_text('"PUSH"')
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    pushed(web, queue, "meanwhile")
    button(page, "Go on").click()
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("meanwhile")
    button(page, "Clear the filters").click()
    expect(rows.filter(has_text="reply to").first).to_be_visible()
    # Nobody is read out what comes by.
    live = "[aria-live], [role=status], [role=log], [role=alert]"
    assert tail.evaluate(f"each => each.closest({live!r})") is None


def test_a_list_of_frames_that_is_paused_stands_still(console, web, queue):
    page = console.open(place="#/server")
    page.get_by_label("Queue", exact=True).fill(queue)
    pushed(web, queue, 1)
    rows = page.get_by_role("list", name="Frames, the latest first").get_by_role("listitem")
    expect(rows.filter(has_text="reply to PUSH")).to_have_count(1)
    button(page, "Pause").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    pushed(web, queue, 2)
    with page.expect_response("**/status"), page.expect_response("**/v1/queues"):
        pass
    with page.expect_response("**/status"):
        pass
    assert not [each for each in asked if "/v1/frames" in each]
    expect(rows.filter(has_text="reply to PUSH")).to_have_count(1)


@pytest.mark.parametrize("user", ["agent", "user"])
def test_frames_are_not_offered_to_those_who_may_not_see_them(console, user):
    page = console.open(user, "#/server")
    expect(page.get_by_role("heading", name="Frame log")).to_be_visible()
    expect(page.get_by_role("heading", name="Frames, as they come")).to_have_count(0)
    console.go("log")
    expect(page.get_by_text("Administrators also see its newest frames here")).to_be_visible()


def test_a_server_that_is_killed_and_comes_back(browser, tmp_path):
    """It is said that it is away, and when it is back everything goes on by itself."""
    with running_server(directory=tmp_path) as server:
        # The same passwords: a token ends with the password of its user.
        kept = yaml.safe_load((tmp_path / "mqd.yaml").read_text())["auth"]
        same = {"server": {"port": server.port}, "auth": kept}
        with running_gateway(server) as gateway, Console(browser, gateway.url).closing() as console:
            console.expected = ("503", "504")
            with gateway.client() as web:
                web.post("/v1/queues", json={"queue": "kept"})
                page = console.open(place="#/queues/kept")
                expect(page.get_by_text("live", exact=True)).to_be_visible()
                server.process.kill()
                server.process.wait()
                expect(page.get_by_text("mqd does not answer; trying again.")).to_be_visible()
                expect(page.get_by_role("heading", name="kept")).to_be_visible()
                with running_server(directory=tmp_path, overrides=same):
                    expect(page.get_by_text("live", exact=True)).to_be_visible()
                    expect(page.get_by_text("mqd does not answer")).to_have_count(0)
                    pushed(web, "kept", 1)
                    expect(console.figure("Ready")).to_contain_text("1")


# Users and tokens


def test_a_user_is_added_changed_and_removed(console, gateway):
    page = console.open(place="#/users")
    button(page, "Add a user").click()
    page.get_by_label("User", exact=True).fill("ada")
    page.get_by_role("radio", name="agent").check()
    page.get_by_label("Password", exact=True).fill("battery staple")
    button(page, "Add", exact=True).click()
    row = page.get_by_role("row", name=re.compile("ada"))
    expect(row).to_contain_text("agent")
    said = {"user": "ada", "password": "battery staple"}
    assert httpx.post(f"{gateway.url}/token", json=said).is_success
    button(page, "Change ada").click()
    page.get_by_role("checkbox", name="disabled").check()
    button(page, "Change", exact=True).click()
    expect(row).to_contain_text("disabled")
    assert httpx.post(f"{gateway.url}/token", json=said).status_code == 401
    button(page, "Remove ada").click()
    page.get_by_label("Type ada to go on").fill("ada")
    button(page, "Remove", exact=True).click()
    expect(row).to_have_count(0)
    expect(button(page, "Remove admin")).to_have_count(0)  # the configuration's


def test_a_secretary_looks_and_manages_those_who_may_do_no_more_than_work(console, web):
    form = {"user": "noor", "role": "secretary", "password": PASSWORD}
    assert web.post("/v1/users", json=form).is_success
    page = console.open("noor")
    expect(page.get_by_role("banner")).to_contain_text("noor (secretary)")
    expect(button(page, "Create a queue")).to_have_count(0)
    page.get_by_role("link", name="Users").click()
    expect(page.get_by_role("rowheader", name="noor (you)")).to_be_visible()
    expect(button(page, "Change noor")).to_have_count(0)
    button(page, "Add a user").click()
    roles = page.get_by_role("group", name="Role").get_by_role("radio")
    expect(roles).to_have_count(2)
    assert [each.get_attribute("value") for each in roles.all()] == ["user", "agent"]


def test_a_token_is_shown_once_and_revoked(console, gateway):
    page = console.open("agent", "#/tokens")
    expect(page.get_by_role("link", name="Users")).to_have_count(0)
    expect(page.get_by_role("rowheader", name="this window")).to_be_visible()
    button(page, "Make a token").click()
    page.get_by_label("What it is for").fill("a notebook")
    page.get_by_label("Role", exact=True).select_option("user")
    page.get_by_label("Your password").fill(PASSWORD)
    button(page, "Make it").click()
    token = page.get_by_label("The token").inner_text()
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{gateway.url}/v1/me", headers=headers).json()["role"] == "user"
    button(page, "I have it").click()
    row = page.get_by_role("row", name=re.compile("a notebook"))
    button(row, "Revoke").click()
    expect(row).to_have_count(0)
    expect(page.get_by_text(token)).to_have_count(0)
    while httpx.get(f"{gateway.url}/v1/me", headers=headers).status_code != 401:
        page.wait_for_timeout(20)  # it ends within a second


def test_the_least_role_is_offered_for_a_token_first(console):
    page = console.open(place="#/tokens")
    button(page, "Make a token").click()
    expect(page.get_by_label("Role", exact=True)).to_have_value("user")


def test_a_user_changes_the_own_password_and_signs_in_again(console, web):
    console.expected = ("401",)  # the wrong one; and figures that are asked for at the end
    form = {"user": "grace", "role": "agent", "password": PASSWORD}
    assert web.post("/v1/users", json=form).is_success
    page = console.open("grace", "#/tokens")
    button(page, "Change your password …").click()
    dialog = page.get_by_role("dialog", name="Change your password")

    def change(old, again):
        dialog.get_by_label("Present password").fill(old)
        dialog.get_by_label("New password").fill("correct horse battery")
        dialog.get_by_label("The new one again").fill(again)
        button(dialog, "Change it").click()

    change(PASSWORD, "another one")
    expect(dialog.get_by_role("alert")).to_contain_text("differ")
    change("wrong one", "correct horse battery")
    expect(dialog.get_by_role("alert")).to_contain_text("AUTH_FAILED")
    change(PASSWORD, "correct horse battery")
    expect(
        page.get_by_text("Your password is changed, and all your tokens have ended")
    ).to_be_visible()
    console.sign_in("grace", "correct horse battery")
    expect(page.get_by_role("banner")).to_contain_text("Signed in as grace")


@pytest.mark.parametrize("user", ["admin", "agent"])
def test_no_password_is_asked_of_users_of_the_configuration(console, user):
    page = console.open(user, "#/tokens")
    expect(page.get_by_role("rowheader", name="this window")).to_be_visible()
    expect(button(page, "Change your password …")).to_have_count(0)


def test_signing_out_ends_the_token_and_a_revoked_one_signs_out(console, gateway):
    console.expected = ("401",)
    page = console.open("agent")
    with gateway.client("agent") as web:
        mine = [each for each in web.get("/v1/tokens").json()["tokens"] if each["comment"]]
        button(page, "Sign out").click()
        expect(page.get_by_text("You have signed out, and your token is revoked.")).to_be_visible()
        left = {each["id"] for each in web.get("/v1/tokens").json()["tokens"]}
        assert len({each["id"] for each in mine} - left) == 1
        console.sign_in("agent")
        expect(page.get_by_role("heading", name="Queues")).to_be_visible()
        for each in web.get("/v1/tokens").json()["tokens"]:
            if each["comment"] == "console":
                web.delete(f"/v1/tokens/{each['id']}")
    expect(page.get_by_text("Your token is not taken any more")).to_be_visible()


# How it looks, and whom it shuts out

PLACES = {
    "queues": "Queues",
    "queues/looks": "looks",
    "queues/looks/leased": "Leases",
    "queues/looks/dead": "looks",
    "queues/looks/push": "looks",
    "queues/looks/pull": "looks",
    "queues/looks/options": "Options",
    "queues/looks/messages/1": "#1",
    "server": "Storage",
    "users": "Users",
    "tokens": "Tokens",
    "log": "Command",
}


@pytest.fixture(scope="module")
def looks(web):
    web.post("/v1/queues", json={"queue": "looks", "max_attempts": 1, "keep_results_seconds": 60})
    pushed(web, "looks", *({"lr": number, "note": "long " * 40} for number in range(25)))
    web.post(f"/v1/leases/{leased(web, 'looks', 2)}/reject", json={"reason": TRACEBACK})
    leased(web, "looks", 3)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_no_page_is_too_wide_or_shuts_anybody_out(browser, gateway, looks, width, scheme):
    with Console(browser, gateway.url, width, scheme).closing() as console:
        page = console.page
        page.goto(console.url)
        assert console.serious_violations() == []
        console.open()
        for place, heading in PLACES.items():
            console.go(place)
            expect(page.get_by_role("heading", name=heading).first).to_be_visible()
            expect(page.get_by_text("Loading …")).to_have_count(0)
            if place.endswith("dead"):
                button(page, "Show message 1").click()
            assert console.serious_violations() == [], place
            assert not console.is_too_wide(), place
        console.go("queues")
        button(page, "Create a queue").click()
        for group in ("How much", "Time"):
            page.locator("summary", has_text=group).click()
        assert console.serious_violations() == []
        page.keyboard.press("Escape")
        button(page, re.compile("Show it (dark|light)")).click()
        assert page.locator("html").get_attribute("data-theme") != scheme
        assert console.serious_violations() == []


def test_an_address_that_names_nothing_leads_to_what_there_is(console, queue):
    page = console.open(place="#/queues/..%2F..%2Fstatus/messages/1")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    expect(page.get_by_role("heading", name="No such page")).to_be_visible()
    for place in ("bogus", "%zz"):
        console.go(place)
        expect(page.get_by_text(f"There is no page {place}.")).to_be_visible()
    page.get_by_role("link", name="All queues").click()
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    console.go("queues", "nowhere")
    expect(page.get_by_text("There is no such queue.")).to_be_visible()
    console.go("queues", queue, "messages", "..%2F..%2Fx")
    expect(page.get_by_role("heading", name=queue)).to_be_visible()
    assert not [each for each in asked if each.endswith("/x")]


def test_a_dialog_has_the_focus_and_gives_it_back(console):
    page = console.open()
    opener = button(page, "Create a queue")
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(opener).to_be_focused()


def test_the_page_may_load_nothing_but_its_own(web):
    for path in ("/", "/console/main.js", "/console/vendor/preact.js"):
        fields = web.get(path).headers
        policy = fields["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["referrer-policy"] == "no-referrer"
