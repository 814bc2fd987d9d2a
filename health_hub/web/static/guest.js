// A guest's invitation: the secret after # goes to the hub once, and the room is entered with what comes back.

const say = (id) => {
  for (const each of ["guest-wait", "guest-ended", "guest-fault"]) document.getElementById(each).hidden = each !== id;
};

const invite = new URLSearchParams(location.hash.slice(1)).get("invite");

async function enter() {
  if (!invite) return say("guest-ended");
  try {
    const answer = await fetch("/consult/guest/token", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ invite }),
    });
    if (!answer.ok) return say(answer.status < 500 ? "guest-ended" : "guest-fault");
    location.replace(`/telemed/room#token=${(await answer.json()).token}`);
  } catch {
    say("guest-fault");
  }
}

enter();
