// A link that restores the settings: they stand behind the # of the address, which browsers keep to
// themselves. A reference photo cannot be in it.

export function write({ look, strength, hue, lean, hints }) {
  const parts = new URLSearchParams();
  if (look !== null) parts.set("look", look);
  if (strength !== null) parts.set("strength", strength);
  if (lean) {
    parts.set("hue", Number(hue.toFixed(4)));
    parts.set("lean", lean);
  }
  for (const { x, y, color, radius } of hints) {
    const values = [x, y, ...(radius === undefined ? [] : [radius])].map((value) => Number(value.toFixed(4)));
    parts.append("hint", [color.slice(1), ...values].join());
  }
  return parts.size ? `#${parts}` : "";
}

// What an address cannot say correctly is left out.
export function read(fragment, info) {
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  const found = {};
  const number = (text, largest) => {
    const value = text === undefined || text === null || text === "" ? NaN : Number(text);
    return value >= 0 && value <= largest ? value : undefined;
  };
  if (info.looks.includes(parts.get("look"))) found.look = parts.get("look");
  const strength = number(parts.get("strength"), info.largest_strength);
  if (strength !== undefined) found.strength = strength;
  const hue = number(parts.get("hue"), 1);
  const lean = number(parts.get("lean"), info.largest_lean);
  if (lean && hue !== undefined) Object.assign(found, { hue, lean });
  const hints = parts.getAll("hint").slice(0, info.most_hints).flatMap((text) => {
    const [color, x, y, radius] = text.split(",");
    const hint = { x: number(x, 1), y: number(y, 1), color: `#${color}` };
    if (radius !== undefined) hint.radius = number(radius, info.largest_radius);
    return /^#[0-9a-f]{6}$/i.test(hint.color) && !Object.values(hint).includes(undefined) ? [hint] : [];
  });
  if (hints.length) found.hints = hints;
  return found;
}
