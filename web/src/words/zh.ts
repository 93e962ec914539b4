// The Chinese words.
import type { en } from "./en.ts";
import { zhCall } from "./zh-call.ts";
import { zhPages } from "./zh-pages.ts";
import { zhStorage } from "./zh-storage.ts";

export const zh: typeof en = {
  common: {
    name: "Reelay",
    home: "首页",
    recordings: "录制内容",
    selfTest: "自检",
    language: "语言",
    theme: "外观",
    themes: { system: "跟随系统", light: "浅色", dark: "深色" },
    skip: "跳到正文",
    close: "关闭",
    cancel: "取消",
    tryAgain: "重试",
    undo: "撤销",
    news: "消息",
    loading: "正在加载",
    notFoundTitle: "这个地址没有页面。",
    notFoundText: "地址可能输入有误。",
    toHome: "回到首页",
    people: (n) => `${n} 人`,
    offline: "服务器没有响应。",
  },
  home: {
    title: "Reelay",
    heading: "开始一次有录制的通话",
    room: "房间名",
    roomHint: "任何文字的字母、数字，以及 - _ 和 .",
    roomBad: "房间名为 1 到 64 个字母、数字、- _ 或 .，且不能以点开头。",
    start: "开始",
    first: "开一个房间，在另一台设备上打开链接，按停止，然后观看。",
    live: "正在进行",
    recent: "最新录制",
    all: "全部录制",
    recordedNow: "正在录制",
    join: (room) => `加入 ${room}`,
    watch: (room) => `观看 ${room}`,
    watchShort: "观看",
    play: (room) => `播放 ${room} 的录制`,
    noRecordings: "通话一结束，录制就会出现在这里。",
    listFailed: "列表没有加载成功。",
    keyNeeded: "要看到房间和录制，需要打开带访问权限的链接。",
    watching: (n) => `${n} 人在看`,
  },
  ...zhCall,
  ...zhPages,
  ...zhStorage,
};
