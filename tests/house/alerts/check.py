"""Each failure that an operator must hear of has an alert that fires, and a page that says what to do. The rules, first:"""
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import failures
import tree

ALERTS = "config/prometheus/alerts.yml"
PAGES = "docs/7-runbooks"
# 1. Every alert has severity, for, summary, description, and its page as runbook; every page belongs to an alert; the index leads to each.
SEVERITIES = {"critical", "warning"}
# 2. A page says what it means, what viewers notice, where to look, what to do, and when it clears.
HEADINGS = ["What it means", "What viewers notice", "Look", "Do", "It clears"]
# 3. Every metric of an expression exists with those labels and is set somewhere; label values that the sources name exist there.
ADDED = {"job", "instance"}  # by Prometheus
PHASES = {"weir_streams": ("schemas/stream.hpp", "stream_phase"), "weir_tasks": ("schemas/task.hpp", "task_phase"),
          "weir_node_phase": ("schemas/node.hpp", "node_phase"), "weir_edge_phase": ("schemas/node.hpp", "edge_phase")}
# 4. promtool finds nothing wrong, and each failure of failures.py sets off exactly the alerts that it names: not before its time, and not for ever.
#    Every alert is set off by one.
# 5. Code sets every metric that families.hpp declares: a name that nobody tells of looks like a fault that never comes.


def read_alerts(text):
    """name → fields of each rule. promtool judges the YAML; this reads the form that we write it in."""
    found = {}
    for part in re.split(r"^ +- alert: ", text, flags=re.M)[1:]:
        rule = {"name": part.split("\n", 1)[0].strip()}
        block = re.search(r"^ +expr: \|\n((?: {10,}.*\n)+)", part, re.M)
        line = re.search(r"^ +expr: (?!\|)(.+)$", part, re.M)
        rule["expr"] = block[1] if block else line[1] if line else ""
        for field in ("for", "severity", "summary", "description", "runbook"):
            value = re.search(rf"^ +{field}: (.+)$", part, re.M)
            rule[field] = value[1].strip().strip("'") if value else ""
        found[rule["name"]] = rule
    return found


def read_families(text):
    """metric → (family, labels), as the table of families.hpp has them."""
    found = {}
    for family, kind, name, rest in re.findall(r'description\{family::(\w+),\s*kind::(\w+),\s*"(\w+)",\s*"(?:[^"\\]|\\.)*"(.*?)\},?\s*$', text, re.M):
        labels = set(re.findall(r'"(\w+)"', rest))
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            found[name + suffix] = (family, labels | ({"le"} if suffix == "_bucket" else set()))
    return found


def read_enum(path, name):
    body = re.search(rf"enum_names\({name}\) \{{(.*?)\n\}}", tree.text(path), re.S)
    return set(re.findall(r'(?:sv|string_view)\("(\w+)"\)', body[1])) if body else set()


def read_errors():
    """(component, identifier) of every log line that counts as an error."""
    done = subprocess.run([sys.executable, tree.ROOT / "tools/log_identifiers.py", "--print"], capture_output=True, text=True, check=True).stdout
    counted = "\n".join(re.findall(r"^## (?:critical|error)\n(.*?)(?=^## |\Z)", done, re.S | re.M))
    return set(re.findall(r"^\| ([a-z-]+) \| `([a-z0-9-]+)` \|", counted, re.M))


def expression_complaints(rule, families, used, errors, enums):
    name, expr = rule["name"], rule["expr"]
    known = set(ADDED)
    for metric, selector in re.findall(r"\b((?:weir|process)_\w+)\b(\{[^}]*\}+)?", re.sub(r'"[^"]*"', lambda m: m[0].replace("}", "").replace("{", ""), expr)):
        if metric not in families:
            yield f"{name}: there is no metric {metric}"
            continue
        family, labels = families[metric]
        known |= labels
        if family not in used:
            yield f"{name}: nothing sets {metric}"
        wanted = re.findall(r'(\w+)\s*(=~|=|!=|!~)\s*"([^"]*)"', selector)
        for label, how, value in wanted:
            if label not in labels | ADDED:
                yield f"{name}: {metric} has no label {label}"
            if label == "phase" and metric in enums and value not in enums[metric]:
                yield f"{name}: {metric} has no phase {value}"
        if metric == "weir_errors_total":
            fits = {label: re.compile(value if how == "=~" else re.escape(value)) for label, how, value in wanted if label in ("code", "component")}
            for alternative in [v for label, how, v in wanted if label == "code"][0].split("|") if "code" in fits else []:
                if not any(re.fullmatch(alternative, code) and fits.get("component", re.compile(".*")).fullmatch(component) for component, code in errors):
                    yield f"{name}: no error of the log is {alternative}"
    if re.search(r"\bup\{", expr):
        known |= ADDED
    for clause in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr):
        for label in re.findall(r"\w+", clause):
            if label not in known:
                yield f"{name}: by {label}, which no metric there has"
    kept = [set(re.findall(r"\w+", c)) for c in re.findall(r"\bby \(([^)]*)\)", expr)]
    for label in set(re.findall(r"\$labels\.(\w+)", rule["summary"] + rule["description"])):
        if label not in known or (kept and not any(label in k for k in kept) and "unless on" not in expr):
            yield f"{name}: its text names $labels.{label}, which is not there"


def rule_complaints(rule):
    for field in ("for", "severity", "summary", "description", "runbook", "expr"):
        if not rule[field]:
            yield f"{rule['name']}: no {field}"
    if rule["severity"] not in SEVERITIES:
        yield f"{rule['name']}: severity {rule['severity']} is not one of {', '.join(sorted(SEVERITIES))}"
    if "$labels." not in rule["summary"] + rule["description"]:
        yield f"{rule['name']}: its text does not say what it is about ($labels)"
    if rule["runbook"] != f"{PAGES}/{rule['name']}.md":
        yield f"{rule['name']}: runbook is {rule['runbook']}, not {PAGES}/{rule['name']}.md"


def page_complaints(alerts, pages, index):
    for name, rule in alerts.items():
        page = pages.get(name)
        if page is None:
            yield f"{name}: no page {PAGES}/{name}.md"
            continue
        if not page.startswith(f"# {name}\n"):
            yield f"{PAGES}/{name}.md: its title is not {name}"
        if rule["severity"] not in page.split("##", 1)[0]:
            yield f"{PAGES}/{name}.md: does not begin by saying that it is {rule['severity']}"
        missing = [h for h in HEADINGS if f"\n## {h}\n" not in page]
        if missing:
            yield f"{PAGES}/{name}.md: lacks {', '.join(missing)}"
        if f"({name}.md)" not in index:
            yield f"{PAGES}/index.md does not lead to {name}"
    for name in pages:
        if name not in alerts:
            yield f"{PAGES}/{name}.md: there is no such alert"


def seconds(text):
    amount, unit = re.fullmatch(r"(\d+)([smh])", text).groups()
    return int(amount) * {"s": 1, "m": 60, "h": 3600}[unit]


def unit_tests(alerts):
    """What `promtool test rules` reads; JSON is YAML."""
    def look(at, firing, of=""):
        found = [{"alertname": name, "alertstate": "firing", "severity": alerts[name]["severity"], **labels} for name, each in firing.items() for labels in each]
        samples = [{"labels": "ALERTS{" + ", ".join(f'{k}="{v}"' for k, v in one.items()) + "}", "value": 1} for one in found]
        return {"expr": f'ALERTS{{alertstate="firing"{of}}}', "eval_time": f"{at}s", "exp_samples": samples}
    tests = []
    for what, changes, after, firing in failures.FAILURES:
        looks = [look(failures.START - failures.STEP, {}), look(failures.START + after, firing), look(failures.CLEAR, {})]
        for name in firing:
            if (early := seconds(alerts[name]["for"]) - failures.STEP) >= 0:
                looks.append(look(failures.START + early, {}, f', alertname="{name}"'))
        tests.append({"name": what, "interval": f"{failures.STEP}s", "promql_expr_test": looks,
                      "input_series": [{"series": s, "values": v} for s, v in {**failures.healthy(), **changes}.items()]})
    return {"rule_files": [str(tree.ROOT / ALERTS)], "evaluation_interval": f"{failures.STEP}s", "tests": tests}


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]


def unset_complaints(families, used):
    for family in sorted({family for family, labels in families.values()} - used):
        yield f"runtime/metrics/families.hpp: nothing sets {family}"


def rules_bite(families, used, errors, enums):
    def rule(expr, text="{{ $labels.job }}"):
        return {"name": "x", "expr": expr, "summary": text, "description": ""}
    bad = ["weir_no_such_metric > 0", 'weir_tasks{colour="red"} > 0', 'weir_tasks{phase="asleep"} > 0', "sum by (colour) (weir_tasks) > 0",
           'weir_errors_total{code="never-logged"} > 0', 'weir_errors_total{component="edge", code="write-failed"} > 0']
    good = ['max by (job, type) (weir_tasks{phase="running"}) > 0', 'weir_errors_total{component="store", code="write-failed"} > 0',
            "histogram_quantile(0.9, sum by (job, le) (rate(weir_hook_duration_seconds_bucket[5m])))"]
    check = lambda r: list(expression_complaints(r, families, used, errors, enums))
    found = [f"rule that does not bite: {b}" for b in bad if not check(rule(b))] + [f"rule that bites wrongly: {c}" for g in good for c in check(rule(g))]
    if not any("never_set" in c for c in unset_complaints({**families, "weir_never_set": ("never_set", set())}, used)):
        found.append("rule that does not bite: a family that nothing sets")
    if not check(rule("max by (job) (weir_tasks) > 0", "{{ $labels.type }}")):
        found.append("rule that does not bite: $labels that the expression does not keep")
    return found


alerts = read_alerts(tree.text(ALERTS))
families = read_families(tree.text("runtime/metrics/families.hpp"))
used = set(re.findall(r"\bfamily::(\w+)", "\n".join(tree.text(p) for p in tree.files("actors", "apps", "runtime", ends=(".cpp",)))))
errors = read_errors()
enums = {metric: read_enum(*where) for metric, where in PHASES.items()}
pages = {Path(p).stem: tree.text(p) for p in tree.files(PAGES, ends=(".md",))}
index = pages.pop("index", "")

complaints = rules_bite(families, used, errors, enums)
complaints += unset_complaints(families, used)
for rule in alerts.values():
    complaints += rule_complaints(rule)
    complaints += expression_complaints(rule, families, used, errors, enums)
complaints += page_complaints(alerts, pages, index)
complaints += [f"no failure of failures.py sets off {name}" for name in alerts if not any(name in f[3] for f in failures.FAILURES)]
complaints += [f"failures.py: there is no alert {name}" for f in failures.FAILURES for name in f[3] if name not in alerts]
checked = "promtool"
if shutil.which("promtool"):
    complaints += promtool("check", "rules", tree.ROOT / ALERTS)
    complaints += promtool("check", "config", tree.ROOT / "config/prometheus/prometheus.yml")
    if not complaints:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as tests:
            json.dump(unit_tests(alerts), tests)
            tests.flush()
            complaints += promtool("test", "rules", tests.name)
else:
    checked = "no promtool here"
tree.finish("alerts", complaints, f"{len(alerts)} alerts, {len(pages)} pages, {len(failures.FAILURES)} failures ({checked})")
