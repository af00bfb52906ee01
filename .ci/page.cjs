// Checks every kind of page as readers see it. See .ci/page.
const fs = require("node:fs");
const path = require("node:path");
const puppeteer = require("puppeteer-core");
const axe = fs.readFileSync(require.resolve("axe-core"), "utf8");

const [full, empty, chromium, pictures] = process.argv.slice(2);
const vat = "310122393500003";
const pages = {
    overview: `${full}/`,
    empty: `${empty}/`,
    activities: `${full}/activities`,
    filtered: `${full}/activities?q=%D8%B5%D9%86%D8%AF%D9%88%D9%82+%D9%A1&owner=registration`,
    failures: `${full}/activities?state=FAILED`,
    "nothing-found": `${full}/activities?q=nothing-at-all`,
    deliveries: `${full}/deliveries`,
    certificates: `${full}/renewals`,
    preflight: `${full}/preflight`,
    failed: `${full}/activities/failed-after-1-polls?vat=${vat}`,
    waiting: `${full}/activities/never-1?vat=399999999900003`,
    choice: `${full}/activities/same`,
    refusal: `${full}/activities/nobody-knows-it`,
};
const widths = { wide: [1440, 900], desk: [1280, 720], phone: [390, 844] };

// English words that belong in an Arabic page.
const names = /^(pcsid|watch|cleartax|http|https|vat|utc|admin|csv|english|zatca|api|token|br|ksa|en|otp|sa|activity|id|xml|erp|log|dns|base|url|upstream|credentials|bt|tin|egs|crn|mom|mls|sag|oth|rrrd|json)$/i;

// Runs in the page.
function measure() {
    const width = document.documentElement.clientWidth;
    const inScroller = (element) => {
        for (let up = element; up; up = up.parentElement) {
            const style = getComputedStyle(up);
            if (/auto|scroll|hidden|clip/.test(style.overflowX) && up !== document.documentElement && up !== document.body) return true;
        }
        return false;
    };
    const outside = [];
    for (const element of document.body.querySelectorAll("*")) {
        const box = element.getBoundingClientRect();
        if (box.width === 0 || box.height === 0 || element.closest(".unseen, .skip, svg.defs")) continue;
        if ((box.right > width + 1 || box.left < -1) && !inScroller(element)) {
            outside.push(`${element.tagName}.${element.className.baseVal ?? element.className} ${Math.round(box.left)}..${Math.round(box.right)}`);
        }
    }
    const english = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let nodes = 0;
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
        if (!node.data.trim()) continue;
        nodes += 1;
        // Ids, codes, times and what others wrote are isolated, each with its own direction.
        if (node.parentElement.closest("code, pre, time, bdi, [dir=ltr], [dir=auto], [lang]:not(html)")) continue;
        if (/[A-Za-z]{2,}/.test(node.data)) english.push(node.data.trim());
    }
    const top = (selector) => {
        const element = document.querySelector(selector);
        return element ? Math.round(element.getBoundingClientRect().top + scrollY) : null;
    };
    const plot = document.querySelector(".plot");
    return {
        outside, english, nodes, scrolls: document.documentElement.scrollWidth > width,
        lang: document.documentElement.lang, dir: document.documentElement.dir,
        plotsEnd: plot ? Math.max(...[...document.querySelectorAll(".plot")].map((p) => p.getBoundingClientRect().bottom + scrollY)) : null,
        listsBegin: top("#failures"), height: document.documentElement.scrollHeight,
    };
}

(async () => {
    const browser = await puppeteer.launch({
        executablePath: chromium, headless: true, userDataDir: fs.mkdtempSync("/tmp/page-profile-"),
        args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    });
    const faults = [];
    let looked = 0;
    for (const language of ["en", "ar"]) {
        for (const theme of ["light", "dark"]) {
            for (const [size, [width, height]] of Object.entries(widths)) {
                const tab = await browser.newPage();
                await tab.setViewport({ width, height, isMobile: size === "phone", deviceScaleFactor: 1 });
                await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
                await tab.setExtraHTTPHeaders({ "accept-language": language === "ar" ? "ar-SA,ar" : "en" });
                for (const [name, url] of Object.entries(pages)) {
                    const which = `${name} ${language} ${theme} ${size}`;
                    const fault = (text) => faults.push(`${which}: ${text}`);
                    await tab.goto(url);
                    const seen = await tab.evaluate(measure);
                    if (seen.lang !== language || seen.dir !== (language === "ar" ? "rtl" : "ltr")) fault(`lang=${seen.lang} dir=${seen.dir}`);
                    if (seen.scrolls) fault("the window scrolls sideways");
                    seen.outside.slice(0, 5).forEach((element) => fault(`outside of the window: ${element}`));
                    if (language === "ar") {
                        const sentences = seen.english.filter((text) => text.split(/[^A-Za-z]+/).some((word) => word.length > 1 && !names.test(word)));
                        sentences.slice(0, 5).forEach((text) => fault(`English: ${text}`));
                    }
                    if (name === "overview") {
                        if (size === "desk" && seen.plotsEnd > height) fault(`the plots end at ${seen.plotsEnd}, below the first screen`);
                        if (size === "phone" && seen.listsBegin > 3 * height) fault(`lists begin at ${seen.listsBegin}`);
                    }
                    await tab.evaluate(axe);
                    const result = await tab.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
                    for (const violation of result.violations) {
                        fault(`axe ${violation.id}: ${violation.nodes.slice(0, 3).map((node) => node.html.slice(0, 140)).join(" | ")}`);
                    }
                    if (pictures) {
                        fs.mkdirSync(pictures, { recursive: true });
                        const isFirst = size === "desk" && name === "overview";
                        const file = path.join(pictures, `${name}-${language}-${theme}-${size}.png`);
                        // Beyond its window Chromium draws a short page that runs from right to left at another place.
                        await tab.screenshot({ path: file, fullPage: !isFirst, captureBeyondViewport: false });
                    }
                    looked += 1;
                }
                await tab.close();
            }
        }
    }
    await browser.close();
    faults.forEach((fault) => console.error(fault));
    console.log(`${looked} pages looked at, ${faults.length} faults`);
    process.exit(faults.length ? 1 : 0);
})();
