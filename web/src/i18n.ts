// The page's words. English decides the keys, the compiler asks for each in German; plurals are KEY_one and KEY_other.
export type Lang = "en" | "de";

const en = {
  app_subtitle: "live streaming cluster",
  sign_in: "Sign in", sign_out: "Sign out", token: "Access token",
  token_hint: "The token was made at the first start; it is in the file that the configuration names, and “weir demo” prints it.",
  token_wrong: "This token is not accepted.", token_missing: "Paste the token first.",
  connecting: "Connecting to the cluster …",
  lost: "Connection lost, retrying.", lost_detail: "Data is {age} old, next attempt in {wait}.", lost_now: "Data is {age} old, trying now.",
  health_good: "All is well", health_problems_one: "{n} problem", health_problems_other: "{n} problems", problems: "Needs attention",
  tile_live: "live streams", tile_of: "of {n}", tile_tasks: "running tasks", tile_viewers: "viewers", tile_egress: "delivered now", tile_edges: "serving edges", tile_nodes: "ready nodes",
  streams: "Streams", nodes: "Nodes", rtmp_servers: "RTMP servers", edges: "Edges", events: "Events", tasks: "Tasks", summary: "Cluster at a glance",
  no_streams: "No stream yet.", no_streams_hint: "Add one, then point an encoder at its publish address.",
  no_tasks: "No task: viewers see nothing until an “hls” task is added.", no_nodes: "No node has joined.", no_edges: "No edge has reported. Viewers are served by the origin.",
  no_rtmp_servers: "No RTMP server is known: nobody can publish.",
  no_events: "Nothing has happened yet.", missed_one: "{n} event was missed here.", missed_other: "{n} events were missed here.",
  add_stream: "Add stream", add_task: "Add task", add: "Add", change: "Change", cancel: "Cancel", close: "Close", enable: "Enable", disable: "Disable", retry: "Retry now", watch: "Watch",
  disabled: "disabled", publishers: "Publishers", nobody: "Nobody publishes.", since: "for {age}", from: "from {address}",
  publish_address: "Publish address", play_address: "Play address", copy: "Copy", copied: "Copied", copy_of: "Copy {what}", show_key: "Show key", hide_key: "Hide key",
  show_key_hint: "Showing the key is recorded in the audit log.", encoder_server: "Server", encoder_key: "Stream key",
  name: "Name", title: "Title", type: "Type", options: "Options (JSON)",
  name_hint: "Names the play address. Letters, digits, “-”, “_” and “.”.", title_hint: "Shown to viewers.", viewing: "Who may watch", viewing_open: "Whoever knows the name", viewing_signed: "Only who has a signed link",
  viewing_hint: "Signed links are good for a time.", copy_signed: "Copy signed link", copy_signed_hint: "Good for 8 hours, for whoever has it.", player_barred: "This link is not good any more", player_barred_detail: "Please ask whoever gave it to you for a new one.", task_name_hint: "For people; may stay empty.",
  needs_labels: "Labels that its node must have", needs_hint: "KEY or KEY=VALUE, with spaces or commas between them. Empty: any node.",
  options_of: "Options of “{type}”", no_options: "This type has no options.", required: "required", default_is: "default {value}", bad_json: "This is not JSON: {detail}",
  node: "node", speed: "speed", bitrate: "bit rate", attempts: "starts", fps: "frames/s", dropped: "dropped", epoch: "epoch", log_tail: "Last log lines ({n})", last_error: "Last error",
  last_cause: "Last run ended: {cause}", standby: "standby", standby_reason: "Standby: {reason}", no_standby: "No standby: {reason}", needs: "needs", publishing: "publishers",
  cpu: "CPU", memory: "Memory", cores: "{used} of {all} cores", of: "{part} of {all}", tasks_here_one: "{n} task", tasks_here_other: "{n} tasks", heard: "heard {age} ago",
  egress: "Egress", last_minute: "last minute", weight: "weight", hits: "cache hits", viewers: "viewers", restarts: "restarts", connections: "connections", near_to: "near to {locality}", only_for: "only for {locality}",
  first_picture: "first picture after", stalls_an_hour: "stalls an hour",
  confirm_disable_stream: "Disable the stream “{name}”? Who publishes it now is cut off, and its tasks stop.",
  confirm_disable_task: "Disable the task “{name}” of “{stream}”?",
  changed_meanwhile: "It was changed meanwhile; what you see now is current. Try again.", failed: "That did not work: {detail}", unreachable: "The server cannot be reached.",
  language: "Language", skip: "Skip to content", version: "version",
  phase_offline: "offline", phase_live: "live", phase_ending: "ending", phase_waiting: "waiting", phase_placed: "placed", phase_starting: "starting", phase_running: "running",
  phase_backing_off: "waits to restart", phase_crash_looping: "keeps crashing", phase_stopping: "stopping", phase_done: "done", phase_failed: "failed", phase_joining: "joining",
  phase_ready: "ready", phase_suspect: "suspect", phase_down: "down", phase_draining: "draining", phase_cordoned: "cordoned", phase_left: "left", phase_serving: "serving",
  phase_dead: "dead", phase_stopped: "stopped", phase_up: "up", phase_unreachable: "cannot be read", phase_unwatched: "not watched",
  player_loading: "Loading …", player_waiting: "Not live yet", player_waiting_detail: "This page starts by itself as soon as the broadcast begins.",
  player_full: "All places are taken", player_full_detail: "So many people watch that there is no room for one more just now. This page tries again by itself.",
  player_unknown: "There is no stream of this name", player_unknown_detail: "Check the address. If the stream is added later, this page starts by itself.",
  player_ended: "The broadcast has ended", player_ended_detail: "If it goes on, this page starts again by itself.",
  player_error: "Playback failed", player_retry_in: "Next attempt in {wait}.", player_unsupported: "This browser cannot play live video (no Media Source Extensions).",
  player_play: "Play", player_unmute: "Turn sound on", player_pause: "Pause", player_mute: "Turn sound off", player_fullscreen: "Full screen", player_quality: "Quality",
  player_auto: "Auto", player_auto_now: "Auto ({now})", player_latency: "Latency", player_edge: "Edge", player_stalls: "Stalls", player_live: "Live", player_go_live: "Go to live",
  player_licenses: "Licences",
};
export type Key = keyof typeof en;

const de: Record<Key, string> = {
  app_subtitle: "Live-Streaming-Verbund",
  sign_in: "Anmelden", sign_out: "Abmelden", token: "Zugangs-Token",
  token_hint: "Das Token entstand beim ersten Start; es steht in der Datei, die die Konfiguration nennt, und „weir demo“ zeigt es an.",
  token_wrong: "Dieses Token wird nicht angenommen.", token_missing: "Bitte zuerst das Token einfügen.",
  connecting: "Verbindung zum Verbund wird aufgebaut …",
  lost: "Verbindung verloren, neuer Versuch läuft.", lost_detail: "Stand vor {age}, nächster Versuch in {wait}.", lost_now: "Stand vor {age}, Versuch läuft.",
  health_good: "Alles in Ordnung", health_problems_one: "{n} Störung", health_problems_other: "{n} Störungen", problems: "Braucht Aufmerksamkeit",
  tile_live: "Streams live", tile_of: "von {n}", tile_tasks: "laufende Aufgaben", tile_viewers: "Zuschauer", tile_egress: "Auslieferung jetzt", tile_edges: "Edges im Dienst", tile_nodes: "Knoten bereit",
  streams: "Streams", nodes: "Knoten", rtmp_servers: "RTMP-Server", edges: "Edges", events: "Ereignisse", tasks: "Aufgaben", summary: "Der Verbund auf einen Blick",
  no_streams: "Noch kein Stream.", no_streams_hint: "Einen anlegen, dann einen Encoder auf seine Sendeadresse richten.",
  no_tasks: "Keine Aufgabe: Zuschauer sehen nichts, bis eine „hls“-Aufgabe angelegt ist.", no_nodes: "Kein Knoten ist beigetreten.", no_edges: "Keine Edge hat sich gemeldet. Der Origin beliefert die Zuschauer.",
  no_rtmp_servers: "Kein RTMP-Server ist bekannt: Niemand kann senden.",
  no_events: "Noch ist nichts geschehen.", missed_one: "Hier fehlt {n} Ereignis.", missed_other: "Hier fehlen {n} Ereignisse.",
  add_stream: "Stream anlegen", add_task: "Aufgabe anlegen", add: "Anlegen", change: "Ändern", cancel: "Abbrechen", close: "Schließen", enable: "Einschalten", disable: "Abschalten", retry: "Jetzt neu versuchen", watch: "Ansehen",
  disabled: "abgeschaltet", publishers: "Sender", nobody: "Niemand sendet.", since: "seit {age}", from: "von {address}",
  publish_address: "Sendeadresse", play_address: "Abspieladresse", copy: "Kopieren", copied: "Kopiert", copy_of: "{what} kopieren", show_key: "Schlüssel zeigen", hide_key: "Schlüssel verbergen",
  show_key_hint: "Das Anzeigen des Schlüssels wird protokolliert.", encoder_server: "Server", encoder_key: "Stream-Schlüssel",
  name: "Name", title: "Titel", type: "Art", options: "Optionen (JSON)",
  name_hint: "Benennt die Abspieladresse. Buchstaben, Ziffern, „-“, „_“ und „.“.", title_hint: "Sehen die Zuschauer.", viewing: "Wer zusehen darf", viewing_open: "Wer den Namen kennt", viewing_signed: "Nur wer einen signierten Link hat",
  viewing_hint: "Signierte Links gelten eine Zeit lang.", copy_signed: "Signierten Link kopieren", copy_signed_hint: "Gilt 8 Stunden, für jeden, der ihn hat.", player_barred: "Dieser Link gilt nicht mehr", player_barred_detail: "Bitte dort nach einem neuen fragen, wo er herkam.", task_name_hint: "Für Menschen; darf leer bleiben.",
  needs_labels: "Merkmale, die der Knoten haben muss", needs_hint: "NAME oder NAME=WERT, durch Leerzeichen oder Kommas getrennt. Leer: jeder Knoten.",
  options_of: "Optionen von „{type}“", no_options: "Diese Art hat keine Optionen.", required: "Pflicht", default_is: "Vorgabe {value}", bad_json: "Das ist kein JSON: {detail}",
  node: "Knoten", speed: "Tempo", bitrate: "Bitrate", attempts: "Starts", fps: "Bilder/s", dropped: "verworfen", epoch: "Epoche", log_tail: "Letzte Protokollzeilen ({n})", last_error: "Letzter Fehler",
  last_cause: "Letzter Lauf endete: {cause}", standby: "Reserve", standby_reason: "Reserve: {reason}", no_standby: "Keine Reserve: {reason}", needs: "braucht", publishing: "Sender",
  cpu: "CPU", memory: "Speicher", cores: "{used} von {all} Kernen", of: "{part} von {all}", tasks_here_one: "{n} Aufgabe", tasks_here_other: "{n} Aufgaben", heard: "gehört vor {age}",
  egress: "Auslieferung", last_minute: "letzte Minute", weight: "Gewicht", hits: "Cache-Treffer", viewers: "Zuschauer", restarts: "Neustarts", connections: "Verbindungen", near_to: "nah bei {locality}", only_for: "nur für {locality}",
  first_picture: "erstes Bild nach", stalls_an_hour: "Stillstände je Stunde",
  confirm_disable_stream: "Den Stream „{name}“ abschalten? Wer gerade sendet, wird getrennt, und seine Aufgaben enden.",
  confirm_disable_task: "Die Aufgabe „{name}“ von „{stream}“ abschalten?",
  changed_meanwhile: "Es wurde inzwischen geändert; jetzt ist der aktuelle Stand zu sehen. Bitte noch einmal versuchen.", failed: "Das ging nicht: {detail}", unreachable: "Der Server ist nicht erreichbar.",
  language: "Sprache", skip: "Zum Inhalt", version: "Version",
  phase_offline: "offline", phase_live: "live", phase_ending: "endet", phase_waiting: "wartet", phase_placed: "zugeteilt", phase_starting: "startet", phase_running: "läuft",
  phase_backing_off: "wartet auf Neustart", phase_crash_looping: "stürzt immer wieder ab", phase_stopping: "hält an", phase_done: "fertig", phase_failed: "gescheitert", phase_joining: "tritt bei",
  phase_ready: "bereit", phase_suspect: "verdächtig", phase_down: "ausgefallen", phase_draining: "wird geleert", phase_cordoned: "gesperrt", phase_left: "ausgetreten", phase_serving: "im Dienst",
  phase_dead: "tot", phase_stopped: "angehalten", phase_up: "erreichbar", phase_unreachable: "nicht lesbar", phase_unwatched: "nicht überwacht",
  player_loading: "Lädt …", player_waiting: "Noch nicht live", player_waiting_detail: "Diese Seite startet von selbst, sobald die Übertragung beginnt.",
  player_full: "Alle Plätze sind belegt", player_full_detail: "So viele schauen zu, dass gerade niemand mehr Platz hat. Diese Seite versucht es von selbst wieder.",
  player_unknown: "Einen Stream dieses Namens gibt es nicht", player_unknown_detail: "Bitte die Adresse prüfen. Wird er noch angelegt, startet diese Seite von selbst.",
  player_ended: "Die Übertragung ist zu Ende", player_ended_detail: "Geht sie weiter, startet diese Seite von selbst wieder.",
  player_error: "Wiedergabe gescheitert", player_retry_in: "Nächster Versuch in {wait}.", player_unsupported: "Dieser Browser kann kein Live-Video abspielen (keine Media Source Extensions).",
  player_play: "Abspielen", player_unmute: "Ton einschalten", player_pause: "Pause", player_mute: "Ton ausschalten", player_fullscreen: "Vollbild", player_quality: "Qualität",
  player_auto: "Automatisch", player_auto_now: "Automatisch ({now})", player_latency: "Verzögerung", player_edge: "Edge", player_stalls: "Stockungen", player_live: "Live", player_go_live: "Zum Live-Punkt",
  player_licenses: "Lizenzen",
};

export const catalogues: Record<Lang, Record<Key, string>> = { en, de };

/** The page's language: what was chosen here before, else the first of the browser's that we have. */
export function pickLanguage(chosen: string | null, wanted: readonly string[]): Lang {
  for (const candidate of [chosen ?? "", ...wanted]) {
    const short = candidate.slice(0, 2).toLowerCase();
    if (short === "de" || short === "en") return short;
  }
  return "en";
}

export interface Words {
  lang: Lang;
  t(key: Key, values?: Record<string, string | number>): string;
  /** KEY_one or KEY_other, with {n}. */
  plural(stem: "health_problems" | "missed" | "tasks_here", n: number): string;
  phase(name: string): string;
}

export function words(lang: Lang): Words {
  const rules = new Intl.PluralRules(lang);
  const t = (key: Key, values: Record<string, string | number> = {}): string =>
    catalogues[lang][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
  return {
    lang,
    t,
    plural: (stem, n) => t(`${stem}_${rules.select(n) === "one" ? "one" : "other"}`, { n: new Intl.NumberFormat(lang).format(n) }),
    phase: (name) => {
      const key = `phase_${name}`;
      return key in en ? t(key as Key) : name; // a newer server's phase is shown as it is
    },
  };
}
